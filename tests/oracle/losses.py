#!/usr/bin/env python3
"""Losses, by PyTorch in double; by the formulas of Keras, written with PyTorch's elementary functions, where PyTorch
has none or means something else: what is limited to 1e-7, means with weights and masks, hinges, overlaps."""
import numpy
import torch
import torch.nn.functional as F

from cases import Cases, draw, tensor_of

cases = Cases()
EPSILON = 1e-7
NONE = {"reduction": "none"}
# The forms of tests/test_oracle_losses.c, in order. The last axis of FORMS[1:] is that of classes.
FORMS = ((7,), (3, 5), (1, 2), (2, 3, 4), (3, 17))


def labels_of(name, shape, classes):
    return (draw(name, shape, 0, classes) // 1).astype("int32")


def distribution(name, shape):
    x = draw(name, shape, 0.05, 1)
    return x / x.sum(-1, keepdims=True)


def binary(name, shape):
    return labels_of(name, shape, 2).astype("float32")


def one_hot(y, classes):
    return F.one_hot(y.long(), classes).double()


# ---- Losses of elements --------------------------------------------------------------------------------------------

def log_cosh(p, y):
    """Keras's formula; PyTorch's softplus is x above its threshold, 20 unless told otherwise."""
    return p - y + F.softplus(2 * (y - p), threshold=40) - numpy.log(2)


def bce_of_probabilities(p, y, smoothing=0.0):
    y = y * (1 - smoothing) + smoothing / 2
    p = p.clamp(EPSILON, 1 - EPSILON)
    return -(y * torch.log(p) + (1 - y) * torch.log(1 - p))


def focal(x, y, gamma, alpha):
    p = torch.sigmoid(x)
    share = y * p + (1 - y) * (1 - p)
    balance = y * alpha + (1 - y) * (1 - alpha) if alpha >= 0 else 1
    return balance * (1 - share) ** gamma * F.binary_cross_entropy_with_logits(x, y, **NONE)


def hinge(x, y):
    return (1 - (2 * y - 1) * x).clamp(min=0)


for i, shape in enumerate(FORMS):
    x, t, y, soft = draw("x", shape, -3, 3), draw("t", shape, -3, 3), binary("y", shape), draw("soft", shape, 0, 1)
    p = draw("p", shape, 0.02, 0.98)
    cases.add(f"mse/{i}", lambda a, b: F.mse_loss(a, b, **NONE), x, t, second=True)
    cases.add(f"mae/{i}", lambda a, b: F.l1_loss(a, b, **NONE), x, t)
    cases.add(f"huber/{i}_1", lambda a, b: F.huber_loss(a, b, delta=1.0, **NONE), x, t)
    cases.add(f"huber/{i}_2", lambda a, b: F.huber_loss(a, b, delta=0.3, **NONE), x, t)
    cases.add(f"log_cosh/{i}", log_cosh, x, t, second=True)
    cases.add(f"bce/{i}", lambda a, b: F.binary_cross_entropy_with_logits(a, b, **NONE), x, soft, second=True)
    cases.add(f"bce_of_probabilities/{i}", bce_of_probabilities, p, soft, second=True)
    cases.add(f"bce_smoothed/{i}",
              lambda a, b: F.binary_cross_entropy_with_logits(a, b * 0.8 + 0.1, **NONE), x, y, second=True)
    cases.add(f"bce_of_probabilities_smoothed/{i}", lambda a, b: bce_of_probabilities(a, b, 0.2), p, y, second=True)
    for k, (gamma, alpha) in enumerate(((2.0, 0.25), (1.5, -1.0), (0.0, 0.6))):
        cases.add(f"focal/{i}_{k}", lambda a, b: focal(a, b, gamma, alpha), x, soft, second=True)
    # Without gradients in the targets, which choose a side: as integers.
    cases.add(f"hinge/{i}", hinge, x, y.astype("int32"))
    cases.add(f"squared_hinge/{i}", lambda a, b: hinge(a, b) ** 2, x, y.astype("int32"))

# Far from each other, equal, and of certainties.
far = numpy.array([300.0, -300.0, 1e4, -1e4, 1e-3, -1e-3, 0.0, 1.0])
cases.add("log_cosh/far", log_cosh, far, numpy.zeros(8), second=True)
cases.add("huber/far", lambda a, b: F.huber_loss(a, b, delta=1.0, **NONE), far, numpy.zeros(8))
cases.add("bce/far", lambda a, b: F.binary_cross_entropy_with_logits(a, b, **NONE), far, numpy.arange(8) % 2 * 1.0,
          second=True)
cases.add("bce_of_probabilities/certain", bce_of_probabilities, numpy.array([0, 0, 0, 1, 1, 1, 0.5]),
          numpy.array([0, 1, 0.5, 0, 1, 0.5, 1]), second=True)

# ---- Losses of rows ------------------------------------------------------------------------------------------------


def cross_entropy(x, y, smoothing=0.0):
    """PyTorch's has its classes along axis 1. y: class numbers, or probabilities."""
    classes = x.shape[-1]
    rows = y.reshape(-1).long() if y.dim() < x.dim() else y.reshape(-1, classes)
    losses = F.cross_entropy(x.reshape(-1, classes), rows, label_smoothing=smoothing, **NONE)
    return losses.reshape(x.shape[:-1])


def categorical(p, y, smoothing=0.0):
    y = one_hot(y, p.shape[-1]) if y.dim() < p.dim() else y
    y = y * (1 - smoothing) + smoothing / p.shape[-1]
    return -(y * torch.log((p / p.sum(-1, keepdim=True)).clamp(EPSILON, 1 - EPSILON))).sum(-1)


def categorical_hinge(x, y):
    y = one_hot(y, x.shape[-1]) if y.dim() < x.dim() else y
    return (1 + ((1 - y) * x).max(-1).values - (y * x).sum(-1)).clamp(min=0)


def kl(p, y):
    y = y.clamp(EPSILON, 1)
    return F.kl_div(torch.log(p.clamp(EPSILON, 1)), y, **NONE).sum(-1)


def gaussian_kl(m, v, prior_m, prior_v):
    gaussians = [torch.distributions.Normal(mean, torch.exp(variance / 2).expand(m.shape))
                 for mean, variance in ((m, v), (prior_m.expand(m.shape), prior_v))]
    return torch.distributions.kl_divergence(*gaussians).sum(-1)


for i, shape in enumerate(FORMS[1:], 1):
    rows, classes = shape[:-1], shape[-1]
    x, p, y = draw("x", shape, -3, 3), draw("p", shape, 0.02, 0.98), distribution("y", shape)
    numbers = labels_of("numbers", rows, classes)
    for k, smoothing in enumerate((0.0, 0.1)):
        for kind, labels in (("sparse", numbers), ("dense", y)):
            cases.add(f"cross_entropy/{kind}_{i}_{k}", lambda a, b: cross_entropy(a, b, smoothing), x, labels,
                      second=True)
            cases.add(f"categorical/{kind}_{i}_{k}", lambda a, b: categorical(a, b, smoothing), p, labels,
                      second=True)
    cases.add(f"categorical_hinge/sparse_{i}", categorical_hinge, x, numbers)
    cases.add(f"categorical_hinge/dense_{i}", categorical_hinge, x, y)
    q = distribution("q", shape)
    cases.add(f"kl/{i}", kl, q, y, second=True)
    cases.add(f"gaussian_kl/{i}", gaussian_kl, draw("m", shape), draw("v", shape), draw("n", shape),
              draw("w", shape), second=True)
    cases.add(f"gaussian_kl/standard_{i}", gaussian_kl, draw("m", shape), draw("v", shape), numpy.array(0.0),
              numpy.array(0.0), second=True)
    cases.add(f"cosine/{i}", lambda a, b: -F.cosine_similarity(a, b, dim=-1), x, draw("t", shape), second=True)
    for k, margin in enumerate((1.0, 0.2)):
        cases.add(f"triplet/{i}_{k}", lambda a, b, c: F.triplet_margin_loss(a, b, c, margin=margin, **NONE), x,
                  draw("near", shape, -3, 3), draw("away", shape, -3, 3), second=True)
cases.add("categorical/certain", categorical, numpy.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, 0]]),
          numpy.array([0, 0, 2], dtype="int32"), second=True)
cases.add("kl/certain", kl, numpy.array([[1, 0, 0], [0, 0.5, 0.5]]), numpy.array([[0, 1, 0], [0, 0, 1.0]]), second=True)
cases.add("cosine/axes_0_2", lambda a, b: -F.cosine_similarity(a.transpose(1, 2).reshape(-1, 3),
                                                              b.transpose(1, 2).reshape(-1, 3), dim=0),
          draw("x", (2, 3, 4)), draw("t", (2, 3, 4)), second=True)

# ---- Overlaps ------------------------------------------------------------------------------------------------------


def dice(p, y, axes):
    return 1 - (2 * (y * p).sum(axes) + EPSILON) / (y.sum(axes) + p.sum(axes) + EPSILON)


def tversky(p, y, alpha, beta, axes):
    shared, wrong, missed = (y * p).sum(axes), ((1 - y) * p).sum(axes), (y * (1 - p)).sum(axes)
    return 1 - (shared + EPSILON) / (shared + alpha * wrong + beta * missed + EPSILON)


for i, (shape, axes) in enumerate((((9,), (0,)), ((2, 3, 5), (0, 1, 2)), ((2, 3, 5), (1, 2)), ((2, 2, 3, 4), (2, 3)))):
    p, y = draw("p", shape, 0, 1), draw("soft", shape, 0, 1)
    cases.add(f"dice/{i}", lambda a, b: dice(a, b, axes), p, y, second=True)
    cases.add(f"tversky/{i}", lambda a, b: tversky(a, b, 0.3, 0.7, axes), p, y, second=True)

# ---- Reductions ----------------------------------------------------------------------------------------------------
# Of losses of [4, 3], Huber's and binary cross-entropies, and of losses of rows [4], the others.


def reduced(losses, weight, mask, reduction):
    """Keras's means: of those that are not masked, and by the weights of these; 0 of none."""
    count = torch.ones_like(losses) * (1 if mask is None else mask.double())
    weight = torch.ones_like(losses) * weight
    if reduction == 3:
        return losses * weight * count
    total, by_weight = (losses * weight * count).sum(), (weight * count).sum()
    divisor = (count.sum(), torch.tensor(1.0), None, by_weight)[{0: 0, 1: 1, 2: 3}[reduction]]
    return total / divisor if divisor > 0 else total * 0


X, T, Y = draw("x", (4, 3), -3, 3), draw("t", (4, 3), -3, 3), binary("y", (4, 3))
NUMBERS = labels_of("numbers", (4,), 3)
MASK = numpy.array([[1, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=bool)
ROW_MASK = numpy.array([1, 0, 1, 1], dtype=bool)
TWO, THREE = numpy.array([0.5, 2.0]), numpy.array([0.5, 2.0, 1.25])
MEAN, SUM, WEIGHTED, EACH = range(4)
for how in (MEAN, SUM, WEIGHTED, EACH):
    for form, weights in (("rows", draw("w", (4,), 0.1, 2)), ("columns", draw("w", (1, 3), 0.1, 2)),
                          ("all", draw("w", (4, 3), 0.1, 2))):
        def spread(w):
            return w.reshape(tuple(w.shape) + (1,) * (2 - w.dim()))

        cases.add(f"reduced/{how}_{form}",
                  lambda a, b, w: reduced(F.huber_loss(a, b, **NONE), spread(w), None, how), X, T, weights)
        cases.add(f"reduced_masked/{how}_{form}",
                  lambda a, b, w, m: reduced(F.huber_loss(a, b, **NONE), spread(w), m, how), X, T, weights, MASK)
    cases.add(f"mask_alone/{how}", lambda a, b, m: reduced(F.huber_loss(a, b, **NONE), 1, m, how), X, T, MASK)
    cases.add(f"row_mask/{how}", lambda a, b, m: reduced(F.huber_loss(a, b, **NONE), 1, m[:, None], how), X, T,
              ROW_MASK)
    cases.add(f"all_masked/{how}", lambda a, b, m: reduced(F.mse_loss(a, b, **NONE), 1, m, how), X, T, MASK & False)
    cases.add(f"weights_of_0/{how}", lambda a, b, w: reduced(F.mse_loss(a, b, **NONE), w, None, how), X, T,
              numpy.zeros((4, 3), dtype="int32"))
    cases.add(f"binary_classes/{how}",
              lambda a, b, c, w: reduced(F.binary_cross_entropy_with_logits(a, b.double(), **NONE),
                                         c[b.long()] * w[:, None], None, how),
              X, Y.astype("int32"), TWO, draw("w", (4,), 0.1, 2))
    cases.add(f"sparse_classes/{how}",
              lambda a, b, c, m: reduced(cross_entropy(a, b), c[b.long()], m, how), X, NUMBERS, THREE, ROW_MASK)
    cases.add(f"smoothed_classes/{how}",
              lambda a, b, c: reduced(cross_entropy(a, b, 0.1), c[b.long()], None, how), X, NUMBERS, THREE)
    cases.add(f"dense_classes/{how}",
              lambda a, b, c: reduced(categorical(a, b), c[b.argmax(-1)], None, how), draw("p", (4, 3), 0.02, 0.98),
              distribution("y", (4, 3)), THREE)
# PyTorch's own words on the same: class weights with the weighted mean, a label that is not looked at, the mean. Its
# class weights have no gradient: they are integers here.
WHOLE = numpy.array([3, 1, 2], dtype="int32")
cases.add("pytorch/class_weights", lambda a, b, c: F.cross_entropy(a, b.long(), c.double()), X, NUMBERS, WHOLE)
cases.add("pytorch/ignored",
          lambda a, b, c: F.cross_entropy(a, b.long(), c.double(), ignore_index=-100), X,
          numpy.array([2, -100, 0, 1], dtype="int32"), WHOLE)
cases.add("pytorch/mean", lambda a, b: F.binary_cross_entropy_with_logits(a, b), X, draw("soft", (4, 3), 0, 1))
cases.add("pytorch/batchmean", lambda a, b: F.kl_div(torch.log(a), b, reduction="batchmean"),
          distribution("q", (4, 3)), distribution("y", (4, 3)), second=True)
cases.write(__file__)
