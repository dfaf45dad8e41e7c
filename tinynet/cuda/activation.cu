// Non-linearities. The arithmetic is nothing; these kernels wait for memory, and all that can be won is to ask for it
// well.
//
// Version 1  One thread per element, the loop of reference/activation.py with its body kept and its head gone. The 32
//            threads of a warp touch 32 elements side by side, so that their reads are one stretch of memory:
//            coalesced. Written out for ReLU only; the others would differ in one line.
// Version 2  A grid-stride loop: a thread goes on to the element one whole grid further, until there are none. The grid
//            need not grow with the array, so fewer blocks are started, and neighbours still touch neighbours.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

// ---- version 1 -----------------------------------------------------------------------------------------------------
extern "C" __global__ void relu_forward_1(index_t total, const real* x, real* y) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    y[i] = x[i] <= 0 ? 0 : x[i];  // asked this way round, NaN stays NaN
}

extern "C" __global__ void relu_backward_1(index_t total, const real* dy, const real* y, real* dx) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    dx[i] = y[i] > 0 ? dy[i] : 0;
}

// ---- version 2 -----------------------------------------------------------------------------------------------------
__device__ index_t first_element() { return (index_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ index_t grid_stride() { return (index_t)gridDim.x * blockDim.x; }

extern "C" __global__ void relu_forward_2(index_t total, const real* x, real* y) {
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = x[i] <= 0 ? 0 : x[i];
}

extern "C" __global__ void relu_backward_2(index_t total, const real* dy, const real* y, real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride()) dx[i] = y[i] > 0 ? dy[i] : 0;
}

extern "C" __global__ void leaky_relu_forward_2(index_t total, const real* x, real* y, real slope) {
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

extern "C" __global__ void leaky_relu_backward_2(index_t total, const real* dy, const real* y, real* dx, real slope) {
    for (index_t i = first_element(); i < total; i += grid_stride()) dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}

extern "C" __global__ void tanh_forward_2(index_t total, const real* x, real* y) {
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = tanh(x[i]);
}

extern "C" __global__ void tanh_backward_2(index_t total, const real* dy, const real* y, real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride()) dx[i] = dy[i] * (1 - y[i] * y[i]);
}

extern "C" __global__ void sigmoid_forward_2(index_t total, const real* x, real* y) {
    const real half = 0.5;  // in the type of the arrays: a bare 0.5 is a double, and would draw the sum up to one
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = half * tanh(half * x[i]) + half;
}

extern "C" __global__ void sigmoid_backward_2(index_t total, const real* dy, const real* y, real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride()) dx[i] = dy[i] * (y[i] * (1 - y[i]));
}
