// Stochastic gradient descent, the whole update in one kernel.
//
// Version 1  One thread per weight, the loop of reference/sgd.py. `ops` reads and writes the
//            weights once for every operation. Here w, v and dw are read once, w and v are written
//            once, and everything between stays in registers.
// Version 2  A grid-stride loop, as in activation.cu. Of AlexNet's 61 million weights 38 million
//            are in one array, fc6.w.
// Version 3  Four weights a thread, all read before the first is written, as in activation.cu.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void sgd_step_1(index_t total, real* w, real* v, const real* dw,
                                      real lr, real momentum, real weight_decay) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    v[i] = momentum * v[i] - weight_decay * lr * w[i] - lr * dw[i];  // w is still the old weight
    w[i] = w[i] + v[i];
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void sgd_step_2(index_t total, real* w, real* v, const real* dw,
                                      real lr, real momentum, real weight_decay) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) {
        real step = momentum * v[i] - weight_decay * lr * w[i] - lr * dw[i];
        v[i] = step;
        w[i] += step;
    }
}

// ---- version 3 ---------------------------------------------------------------------------------
#define EACH 4

extern "C" __global__ void sgd_step_3(index_t total, real* __restrict__ w, real* __restrict__ v,
                                      const real* __restrict__ dw,
                                      real lr, real momentum, real weight_decay) {
    index_t first = (index_t)blockIdx.x * blockDim.x * EACH + threadIdx.x;
    real weight[EACH], velocity[EACH], gradient[EACH];
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i < total) { weight[e] = w[i]; velocity[e] = v[i]; gradient[e] = dw[i]; }
    }
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i >= total) return;
        real step = momentum * velocity[e] - weight_decay * lr * weight[e] - lr * gradient[e];
        v[i] = step;
        w[i] = weight[e] + step;
    }
}
