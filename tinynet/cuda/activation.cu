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
// Version 3  Four elements a thread, one block apart. A thread asks for all four before it uses the
//            first, so that four reads are on their way at a time instead of one. __restrict__
//            promises that the arrays do not overlap: without it, a read that follows a write in
//            the text has to wait for that write. Only ReLU has version 3: AlexNet uses no
//            other.
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

// ---- version 3 ---------------------------------------------------------------------------------
#define EACH 4

extern "C" __global__ void relu_forward_3(index_t total, const real* __restrict__ x,
                                          real* __restrict__ y) {
    index_t first = (index_t)blockIdx.x * blockDim.x * EACH + threadIdx.x;
    real value[EACH];
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i < total) value[e] = x[i];
    }
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i < total) y[i] = value[e] <= 0 ? 0 : value[e];
    }
}

extern "C" __global__ void relu_backward_3(index_t total, const real* __restrict__ dy,
                                           const real* __restrict__ y, real* __restrict__ dx) {
    index_t first = (index_t)blockIdx.x * blockDim.x * EACH + threadIdx.x;
    real gradient[EACH], output[EACH];
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i < total) { gradient[e] = dy[i]; output[e] = y[i]; }
    }
    for (int e = 0; e < EACH; ++e) {
        index_t i = first + e * blockDim.x;
        if (i < total) dx[i] = output[e] > 0 ? gradient[e] : 0;
    }
}
