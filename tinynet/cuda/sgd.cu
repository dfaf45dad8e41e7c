// Stochastic gradient descent, the whole update in one pass.
//
// Version 1  One thread per weight, the loop of reference/sgd.py. Fused by its nature: `ops` sends the weights through
//            memory once for every operation; here w, v and dw are read once, w and v written once, and between
//            them stand registers.
// Version 2  A grid-stride loop, as in activation.cu: of AlexNet's 61 million weights 38 million are one array, fc6.w.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

extern "C" __global__ void sgd_step_1(index_t total, real* w, real* v, const real* dw,
                                      real lr, real momentum, real weight_decay) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    v[i] = momentum * v[i] - weight_decay * lr * w[i] - lr * dw[i];  // the decay looks at the old w
    w[i] = w[i] + v[i];
}

extern "C" __global__ void sgd_step_2(index_t total, real* w, real* v, const real* dw,
                                      real lr, real momentum, real weight_decay) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x, stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) {
        real step = momentum * v[i] - weight_decay * lr * w[i] - lr * dw[i];
        v[i] = step;
        w[i] += step;
    }
}
