"""The image networks of cli/bench_networks.c, for peers written in Python. `n` is the peer's: it makes a layer of the
network the first time that the forward pass comes to it, and calls it."""


def lenet(n, x):
    for outputs in (32, 64):
        x = n.max_pool(n.relu(n.conv(x, outputs, 5)))
    return n.dense(n.relu(n.dense(n.flatten(x), 512)), 10)


def convbn(n, x):
    for _ in range(4):
        x = n.relu(n.batch_norm(n.conv(x, 64, 3)))
    return x


def residual_block(n, x, outputs, stride):
    inner = n.relu(n.batch_norm(n.conv(x, outputs, 3, stride)))
    inner = n.batch_norm(n.conv(inner, outputs, 3))
    if stride > 1:
        x = n.batch_norm(n.conv(x, outputs, 1, stride))
    return n.relu(inner + x)


def resnet20(n, x):
    x = n.relu(n.batch_norm(n.conv(x, 16, 3)))
    for stage in range(3):
        for block in range(3):
            x = residual_block(n, x, 16 << stage, 2 if stage and not block else 1)
    return n.dense(n.global_average(x), 10)


def unet_block(n, x, outputs):
    for _ in range(2):
        x = n.relu(n.group_norm(n.conv(x, outputs, 3), 8))
    return x


def unet3d(n, x):
    levels = []
    for outputs in (16, 32):
        levels.append(unet_block(n, x, outputs))
        x = n.max_pool(levels[-1])
    x = unet_block(n, x, 64)
    for outputs in (32, 16):
        x = unet_block(n, n.concat(levels.pop(), n.up_conv(x, outputs)), outputs)
    return n.conv(x, 2, 1)


def mobilenet_block(n, x):
    x = n.relu(n.batch_norm(n.conv(x, 32, 3, groups=32)))
    return n.relu(n.batch_norm(n.conv(x, 64, 1)))


NETWORKS = {"lenet": lenet, "convbn": convbn, "resnet20": resnet20, "unet3d": unet3d,
            "mobilenet-block": mobilenet_block}
