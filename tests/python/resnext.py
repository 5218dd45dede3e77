"""CifarResNeXt-29 8x64d (Xie et al. 2017) of the SC09 metrics in PyTorch: what ours is compared with."""
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        width = outputs * 2
        self.conv_reduce = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn_reduce = nn.BatchNorm2d(width)
        self.conv_conv = nn.Conv2d(width, width, 3, stride, 1, groups=8, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.conv_expand = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn_expand = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs:
            self.shortcut.add_module("shortcut_conv", nn.Conv2d(inputs, outputs, 1, stride, bias=False))
            self.shortcut.add_module("shortcut_bn", nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn_reduce(self.conv_reduce(x)).relu()
        y = self.bn(self.conv_conv(y)).relu()
        return (self.bn_expand(self.conv_expand(y)) + self.shortcut(x)).relu()


class ResNeXt(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.conv_1_3x3 = nn.Conv2d(1, 64, 3, 1, 1, bias=False)
        self.bn_1 = nn.BatchNorm2d(64)
        for stage, (inputs, outputs) in enumerate(((64, 256), (256, 512), (512, 1024)), 1):
            blocks = nn.Sequential()
            for k in range(3):
                blocks.add_module(f"stage_{stage}_bottleneck_{k}", Bottleneck(
                    outputs if k else inputs, outputs, 1 if k or stage == 1 else 2))
            self.add_module(f"stage_{stage}", blocks)
        self.classifier = nn.Linear(1024, classes)

    def features(self, x):
        x = self.bn_1(self.conv_1_3x3(x)).relu()
        x = self.stage_3(self.stage_2(self.stage_1(x)))
        return nn.functional.avg_pool2d(x, 8, 1).flatten(1)
