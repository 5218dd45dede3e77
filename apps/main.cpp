#include "apps/program.h"

int main(int argc, char** argv) { return strandwave::apps::run_program(argc, argv); }
