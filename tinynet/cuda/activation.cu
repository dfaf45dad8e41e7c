// Non-linearities. They do hardly any arithmetic: these kernels wait for memory, and only the
// order in which they read it makes them faster or slower.
//
// Version 1  One thread per element: the body of the loop in reference/activation.py, without the
//            loop. The 32 threads of a warp read 32 neighbouring elements, which the GPU fetches
//            together: the reads are coalesced. Only ReLU has this version; the other functions
//            would differ in one line.
// Version 2  A grid-stride loop: each thread goes on to the element that lies one whole grid
//            further, until the array ends. The grid need not grow with the array, so fewer blocks
//            are started, and neighbouring threads still read neighbouring elements.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void relu_forward_1(index_t total, const real* x, real* y) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    y[i] = x[i] <= 0 ? 0 : x[i];  // NaN <= 0 is false, so NaN stays NaN
}

extern "C" __global__ void relu_backward_1(index_t total, const real* dy, const real* y, real* dx) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    dx[i] = y[i] > 0 ? dy[i] : 0;
}

// ---- version 2 ---------------------------------------------------------------------------------
__device__ index_t first_element() { return (index_t)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ index_t grid_stride() { return (index_t)gridDim.x * blockDim.x; }

extern "C" __global__ void relu_forward_2(index_t total, const real* x, real* y) {
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = x[i] <= 0 ? 0 : x[i];
}

extern "C" __global__ void relu_backward_2(index_t total, const real* dy, const real* y, real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride()) dx[i] = y[i] > 0 ? dy[i] : 0;
}

extern "C" __global__ void leaky_relu_forward_2(index_t total, const real* x, real* y, real slope) {
    for (index_t i = first_element(); i < total; i += grid_stride())
        y[i] = x[i] > 0 ? x[i] : slope * x[i];
}

extern "C" __global__ void leaky_relu_backward_2(index_t total, const real* dy, const real* y,
                                                 real* dx, real slope) {
    for (index_t i = first_element(); i < total; i += grid_stride())
        dx[i] = y[i] > 0 ? dy[i] : slope * dy[i];
}

extern "C" __global__ void tanh_forward_2(index_t total, const real* x, real* y) {
    for (index_t i = first_element(); i < total; i += grid_stride()) y[i] = tanh(x[i]);
}

extern "C" __global__ void tanh_backward_2(index_t total, const real* dy, const real* y, real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride())
        dx[i] = dy[i] * (1 - y[i] * y[i]);
}

extern "C" __global__ void sigmoid_forward_2(index_t total, const real* x, real* y) {
    const real half = 0.5;  // a bare 0.5 is a double, and would make the whole sum a double
    for (index_t i = first_element(); i < total; i += grid_stride())
        y[i] = half * tanh(half * x[i]) + half;
}

extern "C" __global__ void sigmoid_backward_2(index_t total, const real* dy, const real* y,
                                              real* dx) {
    for (index_t i = first_element(); i < total; i += grid_stride())
        dx[i] = dy[i] * (y[i] * (1 - y[i]));
}
