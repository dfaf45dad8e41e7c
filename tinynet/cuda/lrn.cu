// Local response normalisation.
//
//     N images  C channels  CG channels of a group  H W  |  HW pixels of a map
//
// Version 1  One thread per activation, the loops of reference/lrn.py. Every x is read by n
//            threads (within a map by n * n); in backward as many compute the same power.
// Version 2  Across channels a block takes PIXELS pixels of CHANNELS channels, within a map a
//            square of SIDE x SIDE pixels. It computes the terms of all its windows, the squares
//            or the quotients, once, and keeps them in shared memory. After a barrier each thread
//            adds up its window from there. The 32 threads of a warp work on neighbouring pixels,
//            so that every access to global memory is coalesced.
//            For the paper's beta of 0.75 the power is s^-0.75 = 1 / sqrt(s) * sqrt(1 / sqrt(s)):
//            square roots in place of a logarithm and an exponential.
// Version 3  Across channels, for windows of 5. A thread walks down the channels of one pixel with
//            the five terms of its window in registers: it drops one, reads one, and adds up.
//            Within a walk every number is read once; there is no shared memory and no barrier, so
//            that a thread may read ahead while it computes. The length of the window is known when
//            the kernel is compiled: only then can an array be kept in registers, which have no
//            index.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define PIXELS 32
#define CHANNELS 32
#define SIDE 16

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void lrn_forward_1(index_t total, const real* x, real* y, real* scale,
                                         int C, int CG, int HW, int n,
                                         real k, real alpha, real beta) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    int c = i / HW % C, start = c / CG * CG;  // start: the first channel of the group
    int first = max(start, c - n / 2), last = min(start + CG - 1, c + n / 2);
    real energy = 0;
    for (int j = first; j <= last; ++j) {
        real neighbour = x[i + (index_t)(j - c) * HW];
        energy += neighbour * neighbour;
    }
    scale[i] = k + alpha * energy;
    y[i] = x[i] * pow(scale[i], -beta);
}

extern "C" __global__ void lrn_backward_1(index_t total, const real* dy, const real* x,
                                          const real* scale, real* dx,
                                          int C, int CG, int HW, int n, real alpha, real beta) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    int c = i / HW % C, start = c / CG * CG;
    int first = max(start, c - n / 2), last = min(start + CG - 1, c + n / 2);
    real cross = 0;
    for (int j = first; j <= last; ++j) {
        index_t neighbour = i + (index_t)(j - c) * HW;
        cross += dy[neighbour] * x[neighbour] / pow(scale[neighbour], beta + 1);
    }
    dx[i] = dy[i] * pow(scale[i], -beta) - 2 * alpha * beta * x[i] * cross;
}

extern "C" __global__ void lrn_within_forward_1(index_t total, const real* x, real* y, real* scale,
                                                int H, int W, int n,
                                                real k, real alpha, real beta) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    int w = i % W, h = i / W % H;
    real energy = 0;
    for (int row = max(0, h - n / 2); row <= min(H - 1, h + n / 2); ++row)
        for (int column = max(0, w - n / 2); column <= min(W - 1, w + n / 2); ++column) {
            real neighbour = x[i + (row - h) * W + column - w];
            energy += neighbour * neighbour;
        }
    scale[i] = k + alpha * energy;
    y[i] = x[i] * pow(scale[i], -beta);
}

extern "C" __global__ void lrn_within_backward_1(index_t total, const real* dy, const real* x,
                                                 const real* scale, real* dx,
                                                 int H, int W, int n, real alpha, real beta) {
    index_t i = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= total) return;
    int w = i % W, h = i / W % H;
    real cross = 0;
    for (int row = max(0, h - n / 2); row <= min(H - 1, h + n / 2); ++row)
        for (int column = max(0, w - n / 2); column <= min(W - 1, w + n / 2); ++column) {
            index_t neighbour = i + (row - h) * W + column - w;
            cross += dy[neighbour] * x[neighbour] / pow(scale[neighbour], beta + 1);
        }
    dx[i] = dy[i] * pow(scale[i], -beta) - 2 * alpha * beta * x[i] * cross;
}

// ---- version 2, across channels ----------------------------------------------------------------
__device__ real power(real s, real beta) {  // s^-beta
    if (beta == (real)0.75) return rsqrt(s) * sqrt(rsqrt(s));
    return pow(s, -beta);
}

// The part of x that a block works on: its first channel, the first element of its image, and for
// each thread a pixel.
struct Place { int pixel, channel; index_t image; };

__device__ Place place_of_block(int C, int HW) {
    int pieces = (HW + PIXELS - 1) / PIXELS, layers = (C + CHANNELS - 1) / CHANNELS;
    return {(int)(blockIdx.x % pieces * PIXELS + threadIdx.x),
            (int)(blockIdx.x / pieces % layers * CHANNELS),
            (index_t)(blockIdx.x / pieces / layers) * C * HW};
}

// The sum over the neighbours of channel c in its group. `terms` begins with channel `top`.
__device__ real window_sum(const real* terms, int top, int c, int CG, int n) {
    int start = c / CG * CG;
    int first = max(start, c - n / 2), last = min(start + CG - 1, c + n / 2);
    real sum = 0;
    for (int j = first; j <= last; ++j) sum += terms[(j - top) * PIXELS + threadIdx.x];
    return sum;
}

extern "C" __global__ void lrn_forward_2(const real* x, real* y, real* scale,
                                         int C, int CG, int HW, int n,
                                         real k, real alpha, real beta) {
    extern __shared__ real terms[];  // (CHANNELS + n - 1, PIXELS)
    Place at = place_of_block(C, HW);
    int top = at.channel - n / 2;
    for (int row = threadIdx.y; row < CHANNELS + n - 1; row += blockDim.y) {
        int c = top + row;
        bool inside = 0 <= c && c < C && at.pixel < HW;
        real value = inside ? x[at.image + (index_t)c * HW + at.pixel] : 0;
        terms[row * PIXELS + threadIdx.x] = value * value;
    }
    __syncthreads();  // all terms are complete
    for (int c = at.channel + threadIdx.y; c < min(C, at.channel + CHANNELS); c += blockDim.y) {
        if (at.pixel >= HW) continue;
        index_t i = at.image + (index_t)c * HW + at.pixel;
        real s = k + alpha * window_sum(terms, top, c, CG, n);
        scale[i] = s;
        y[i] = x[i] * power(s, beta);
    }
}

extern "C" __global__ void lrn_backward_2(const real* dy, const real* x, const real* scale,
                                          real* dx,
                                          int C, int CG, int HW, int n, real alpha, real beta) {
    extern __shared__ real terms[];  // (CHANNELS + n - 1, PIXELS)
    Place at = place_of_block(C, HW);
    int top = at.channel - n / 2;
    for (int row = threadIdx.y; row < CHANNELS + n - 1; row += blockDim.y) {
        int c = top + row;
        bool inside = 0 <= c && c < C && at.pixel < HW;
        index_t i = at.image + (index_t)c * HW + at.pixel;
        terms[row * PIXELS + threadIdx.x] =
            inside ? dy[i] * power(scale[i], beta) * x[i] / scale[i] : 0;
    }
    __syncthreads();
    for (int c = at.channel + threadIdx.y; c < min(C, at.channel + CHANNELS); c += blockDim.y) {
        if (at.pixel >= HW) continue;
        index_t i = at.image + (index_t)c * HW + at.pixel;
        real cross = window_sum(terms, top, c, CG, n);
        dx[i] = dy[i] * power(scale[i], beta) - 2 * alpha * beta * x[i] * cross;
    }
}

// ---- version 2, within a map -------------------------------------------------------------------
// The place of a thread: its row and column, the first row and column of its block, and the first
// element of the map.
struct Square { int h, w, top, left; index_t map; };

__device__ Square square_of_block(int H, int W) {
    int across = (W + SIDE - 1) / SIDE, down = (H + SIDE - 1) / SIDE;
    int top = blockIdx.x / across % down * SIDE, left = blockIdx.x % across * SIDE;
    return {top + (int)threadIdx.y, left + (int)threadIdx.x, top, left,
            (index_t)(blockIdx.x / across / down) * H * W};
}

// The sum over the n x n terms around a thread's pixel. Terms past the edge of the map are 0, so
// the sum need not ask where the edges are.
__device__ real square_sum(const real* terms, int n) {
    int width = SIDE + n - 1;
    real sum = 0;
    for (int i = 0; i < n; ++i)
        for (int j = 0; j < n; ++j) sum += terms[(threadIdx.y + i) * width + threadIdx.x + j];
    return sum;
}

extern "C" __global__ void lrn_within_forward_2(const real* x, real* y, real* scale,
                                                int H, int W, int n,
                                                real k, real alpha, real beta) {
    extern __shared__ real terms[];  // (SIDE + n - 1, SIDE + n - 1)
    Square at = square_of_block(H, W);
    int width = SIDE + n - 1;
    for (int t = threadIdx.y * SIDE + threadIdx.x; t < width * width; t += SIDE * SIDE) {
        int row = at.top - n / 2 + t / width, column = at.left - n / 2 + t % width;
        bool inside = 0 <= row && row < H && 0 <= column && column < W;
        real value = inside ? x[at.map + row * W + column] : 0;
        terms[t] = value * value;
    }
    __syncthreads();
    if (at.h >= H || at.w >= W) return;
    index_t i = at.map + at.h * W + at.w;
    real s = k + alpha * square_sum(terms, n);
    scale[i] = s;
    y[i] = x[i] * power(s, beta);
}

extern "C" __global__ void lrn_within_backward_2(const real* dy, const real* x, const real* scale,
                                                 real* dx,
                                                 int H, int W, int n, real alpha, real beta) {
    extern __shared__ real terms[];  // (SIDE + n - 1, SIDE + n - 1)
    Square at = square_of_block(H, W);
    int width = SIDE + n - 1;
    for (int t = threadIdx.y * SIDE + threadIdx.x; t < width * width; t += SIDE * SIDE) {
        int row = at.top - n / 2 + t / width, column = at.left - n / 2 + t % width;
        bool inside = 0 <= row && row < H && 0 <= column && column < W;
        index_t i = at.map + row * W + column;
        terms[t] = inside ? dy[i] * power(scale[i], beta) * x[i] / scale[i] : 0;
    }
    __syncthreads();
    if (at.h >= H || at.w >= W) return;
    index_t i = at.map + at.h * W + at.w;
    dx[i] = dy[i] * power(scale[i], beta) - 2 * alpha * beta * x[i] * square_sum(terms, n);
}

// ---- version 3, across channels ----------------------------------------------------------------
#define WINDOW 5
#define HALF (WINDOW / 2)

// The walk of a thread: from channel `first` to `last`, which is not part of it, as `start` and
// `end` of the group; the element of its pixel in channel 0. A walk has `steps` channels: short
// walks mean many threads, whose reads overlap, but each walk reads the neighbours of its ends once
// more. On an H200 8 was best for forward, which reads one array, and 32 for a backward that read
// four.
struct Walk { int first, last, start, end; index_t pixel; };

__device__ Walk walk_of(index_t thread, int steps, int C, int CG, int HW) {
    int pieces = (CG + steps - 1) / steps, walks = C / CG * pieces;
    int number = thread / HW % walks, start = number / pieces * CG;
    int first = start + number % pieces * steps;
    return {first, min(first + steps, start + CG), start, start + CG,
            thread / HW / walks * C * HW + thread % HW};
}

__device__ real value_at(const real* __restrict__ x, int c, Walk walk, int HW) {
    return walk.start <= c && c < walk.end ? x[walk.pixel + (index_t)c * HW] : 0;
}

extern "C" __global__ void lrn_forward_3(index_t total, const real* __restrict__ x,
                                         real* __restrict__ y, real* __restrict__ scale, int steps,
                                         int C, int CG, int HW, real k, real alpha, real beta) {
    index_t thread = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= total) return;
    Walk walk = walk_of(thread, steps, C, CG, HW);
    real window[WINDOW];
    for (int t = 1; t < WINDOW; ++t)
        window[t] = value_at(x, walk.first - HALF + t - 1, walk, HW);
    #pragma unroll 4
    for (int c = walk.first; c < walk.last; ++c) {
        for (int t = 1; t < WINDOW; ++t) window[t - 1] = window[t];
        window[WINDOW - 1] = value_at(x, c + HALF, walk, HW);
        real energy = 0;
        for (int t = 0; t < WINDOW; ++t) energy += window[t] * window[t];
        index_t i = walk.pixel + (index_t)c * HW;
        real s = k + alpha * energy;
        scale[i] = s;
        y[i] = window[HALF] * power(s, beta);
    }
}

// What channel c adds to dx: `own` to its own, and `term` to the sums of its neighbours.
struct Neighbour { real own, x, term; };

__device__ Neighbour neighbour_at(const real* __restrict__ dy, const real* __restrict__ x,
                                  const real* __restrict__ scale, int c, Walk walk, int HW,
                                  real beta) {
    if (c < walk.start || c >= walk.end) return {0, 0, 0};
    index_t i = walk.pixel + (index_t)c * HW;
    real s = scale[i], own = dy[i] * power(s, beta), value = x[i];
    return {own, value, own * value / s};
}

extern "C" __global__ void lrn_backward_3(index_t total, const real* __restrict__ dy,
                                          const real* __restrict__ x,
                                          const real* __restrict__ scale, real* __restrict__ dx,
                                          int steps, int C, int CG, int HW,
                                          real alpha, real beta) {
    index_t thread = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (thread >= total) return;
    Walk walk = walk_of(thread, steps, C, CG, HW);
    Neighbour window[WINDOW];
    for (int t = 1; t < WINDOW; ++t)
        window[t] = neighbour_at(dy, x, scale, walk.first - HALF + t - 1, walk, HW, beta);
    #pragma unroll 1  // fewer registers, more threads
    for (int c = walk.first; c < walk.last; ++c) {
        for (int t = 1; t < WINDOW; ++t) window[t - 1] = window[t];
        window[WINDOW - 1] = neighbour_at(dy, x, scale, c + HALF, walk, HW, beta);
        real cross = 0;
        for (int t = 0; t < WINDOW; ++t) cross += window[t].term;
        index_t i = walk.pixel + (index_t)c * HW;
        dx[i] = window[HALF].own - 2 * alpha * beta * window[HALF].x * cross;
    }
}
