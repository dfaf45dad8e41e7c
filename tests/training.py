"""One step of training, as tests need it."""

from tinynet import backend
from tinynet.evaluation import memory_advice


def train_step(net, loss, sgd, x, labels):
    """Forward, backward, update with one batch; returns the loss before the update."""
    with memory_advice(net, len(x)):
        value = loss.forward(net.forward(backend.to_device(x, net.device)), labels)
        net.backward(loss.backward())
        sgd.step()
    return value
