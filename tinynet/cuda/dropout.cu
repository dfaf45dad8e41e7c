// Dropout: multiply by a mask. One kernel serves forward and backward: y = x * mask, dx = dy *
// mask.
//
// Version 1  One thread per element, the loop of reference/dropout.py.
// Version 2  A grid-stride loop, as in activation.cu. At test the mask is one number for all units:
//            a kernel of its own multiplies by that number, and reads one array instead of two.
//
// pcg64.cu draws the mask: the bits that the host would draw, so that a seed gives the same network
// on every device.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void multiply_1(index_t total, const real* x, const real* mask, real* y) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    y[i] = x[i] * mask[i];
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void multiply_2(index_t total, const real* x, const real* mask, real* y) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) y[i] = x[i] * mask[i];
}

extern "C" __global__ void multiply_by_number_2(index_t total, const real* x, real* y,
                                                real number) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) y[i] = x[i] * number;
}
