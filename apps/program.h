// The whole program as a function: parses the command line, runs it, maps errors to exit codes.
#pragma once

namespace strandwave::apps {

// 0 done, 1 the input or the run failed, 2 wrong usage, 75 stopped by a signal after saving.
int run_program(int argc, char** argv);

}  // namespace strandwave::apps
