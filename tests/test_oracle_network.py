"""The whole network against PyTorch: forward, backward at the paper's geometry, and ten steps of training."""

import numpy as np
import pytest
from training import train_step

import tinynet
from tinynet.layers import LRN, Conv2d, Dropout, Flatten, LeakyReLU, Linear, LRNWithin, MaxPool, ReLU, Sigmoid, Tanh


def torch_paper(torch):
    """The paper's net once more, in PyTorch's words: its LRN divides alpha by n, hence alpha * 5."""
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 96, 11, stride=4), nn.ReLU(), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(),
        nn.Linear(9216, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, 1000)).double()


def close(ours, theirs, what, tolerance=1e-6):
    theirs = theirs.detach().numpy()
    assert ours.shape == theirs.shape, what
    error = np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30)
    assert error <= tolerance, f"{what}: relative error {error:.1e}"


def test_paper_geometry_forward_and_backward(oracle):
    net = tinynet.AlexNet("paper", rng=np.random.default_rng(0), dtype="float64")
    net.layers = [layer for layer in net.layers if not isinstance(layer, Dropout)]
    for name in ("conv3", "conv4", "conv5"):
        net[name].params["w"] *= 3  # otherwise hardly anything of the picture reaches the top, and errors hide
    twin = torch_paper(oracle)
    with oracle.no_grad():
        for parameter, array in zip(twin.parameters(), net.named_params().values(), strict=True):
            parameter.copy_(oracle.from_numpy(array))
    rng = np.random.default_rng(1)
    x, labels = 60 * rng.standard_normal((2, 3, 227, 227)), np.array([3, 997])
    loss = tinynet.SoftmaxCrossEntropy()
    logits = net.forward(x)
    value = loss.forward(logits, labels)
    net.backward(loss.backward())
    their_logits = twin(oracle.from_numpy(x))
    their_loss = oracle.nn.functional.cross_entropy(their_logits, oracle.from_numpy(labels))
    their_loss.backward()
    close(logits, their_logits, "logits")
    close(np.array(value), their_loss, "loss")
    for (name, grad), parameter in zip(net.named_grads().items(), twin.parameters(), strict=True):
        close(grad, parameter.grad, name)


def torch_forward(torch, net, params, x, rng):
    """The same layers by PyTorch's functions, with dropout masks drawn from rng as our layers draw them."""
    F = torch.nn.functional
    for layer in net.layers:
        w, b = params.get(f"{layer.name}.w"), params.get(f"{layer.name}.b")
        match layer:
            case Conv2d():
                OH, OW = layer.output_shape(tuple(x.shape))[2:]
                (SH, SW), (PH, PW), (KH, KW) = layer.stride, layer.pad, layer.size
                bottom, right = (OH - 1) * SH + KH - x.shape[2] - PH, (OW - 1) * SW + KW - x.shape[3] - PW
                x = F.pad(x, (PW, max(right, 0), PH, max(bottom, 0)))
                x = F.conv2d(x, w, b, layer.stride, groups=layer.groups)[:, :, :OH, :OW]
            case MaxPool():
                x = F.max_pool2d(x, layer.size, layer.stride, layer.pad, ceil_mode=layer.ceil)
            case LRN():
                parts = x.chunk(layer.groups, dim=1)
                x = torch.cat([F.local_response_norm(part, layer.n, layer.alpha * layer.n, layer.beta, layer.k)
                               for part in parts], dim=1)
            case LRNWithin():
                energy = F.avg_pool2d(x * x, layer.n, stride=1, padding=layer.n // 2) * layer.n**2
                x = x / (layer.k + layer.alpha * energy) ** layer.beta
            case ReLU():
                x = F.relu(x)
            case LeakyReLU():
                x = F.leaky_relu(x, layer.slope)
            case Tanh():
                x = torch.tanh(x)
            case Sigmoid():
                x = torch.sigmoid(x)
            case Flatten():
                x = x.flatten(1)
            case Linear():
                x = F.linear(x, w, b)
            case Dropout():
                kept = torch.from_numpy(rng.random(tuple(x.shape), dtype=np.float32) < layer.keep)
                x = x * kept / (layer.keep if layer.inverted else 1)
            case _:
                raise TypeError(layer)
    return x


@pytest.mark.parametrize("recipe, image_size", [("paper", 67), ("code-2012", 66), ("caffe", 67), ("owt", 63)])
def test_ten_steps_of_training(oracle, slim_alexnets, recipe, image_size):
    """Losses and weights after ten steps of SGD agree to 1e-6: forward, backward, dropout, decay, momentum, rates."""
    torch = oracle
    net = tinynet.AlexNet(recipe, 10, image_size, rng=np.random.default_rng(0), dtype="float64")
    params = {name: torch.from_numpy(array.copy()).requires_grad_() for name, array in net.named_params().items()}
    masks = np.random.default_rng()
    masks.bit_generator.state = net.rng.bit_generator.state
    sgd = tinynet.SGD(net, lr=0.002, momentum=0.9, weight_decay=0.0005)
    theirs = torch.optim.SGD(
        [{"params": [w], "lr": 0.002 * sgd.lr_mult.get(name, 1), "weight_decay": 0.0005 * sgd.decay_mult.get(name, 1)}
         for name, w in params.items()], momentum=0.9)
    loss = tinynet.SoftmaxCrossEntropy()
    rng = np.random.default_rng(1)
    start = {name: array.copy() for name, array in net.named_params().items()}
    for step in range(10):
        x, labels = 60 * rng.standard_normal((4, 3, image_size, image_size)), rng.integers(10, size=4)
        value = train_step(net, loss, sgd, x, labels)
        theirs.zero_grad()
        their_loss = torch.nn.functional.cross_entropy(
            torch_forward(torch, net, params, torch.from_numpy(x), masks), torch.from_numpy(labels))
        their_loss.backward()
        theirs.step()
        close(np.array(value), their_loss, f"loss at step {step}")
    for name, array in net.named_params().items():
        close(array - start[name], params[name] - torch.from_numpy(start[name]), f"what ten steps did to {name}")
