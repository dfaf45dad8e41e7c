// Overlapping pooling: max, and average.
//
//     H W  |  OH OW output  |  KH KW window  |  SH SW stride  |  PH PW padding
//     (i, j) output pixel  (u, v) window pixel  (row, column) image pixel
//
// Version 1  One thread per element of the result. Forward is the loop of reference/pool.py.
//            Backward turns that loop around. In the reference each window adds its gradient to a
//            pixel. Two threads that add to one pixel would overwrite each other, or need atomic
//            additions, whose order, and so the last bits of the sum, changes from run to run. Here
//            each pixel asks the windows that see it whether it won, and adds up in a fixed order:
//            every run gives the same bits.
// Version 2  One block per map. The block copies the map (backward: its gradients and its winners)
//            into shared memory, in the order in which it is stored, and waits at a barrier. Then
//            the threads share the windows, or the pixels, among themselves. A pixel that two or
//            four overlapping windows see is read from memory once. And an int is enough to number
//            the pixels of a map, even where the whole array needs 64 bits.
// Version 3  Max-pooling with the windows of AlexNet, 3 x 3 pixels, 2 apart, not padded: known when
//            the kernel is compiled, so that half a row is a shift where version 2 divides, which
//            takes a GPU some twenty instructions. Nothing is copied to shared memory, and nobody
//            waits: the cache keeps a pixel until the next window asks for it. Forward has a thread
//            for each window. Backward has one for each square of 2 x 2 pixels, which lies in at
//            most four windows: a thread reads these once, and adds each gradient to the pixel
//            that won, if that pixel is in its square.
//
// real: float or double.  position: the smallest unsigned type that can number a window's pixels.
// index_t: int, or long long for an array of more than 2^30 elements.

// The largest pixel of the window at (i, j) inside the map. NaN is larger than any number.
__device__ void largest_of_window(const real* map, real* y, position* argmax, int i, int j, int H,
                                  int W, int KH, int KW, int SH, int SW, int PH, int PW) {
    int top = i * SH - PH, left = j * SW - PW;
    int first_u = max(0, -top), first_v = max(0, -left);  // the window's first pixel inside the map
    real largest = map[(top + first_u) * W + left + first_v];
    position where = KW * first_u + first_v;
    for (int u = first_u; u < KH && top + u < H; ++u)
        for (int v = first_v; v < KW && left + v < W; ++v) {
            real value = map[(top + u) * W + left + v];
            if (value > largest || value != value) {  // only NaN is not equal to itself
                largest = value;
                where = KW * u + v;
            }
        }
    *y = largest;
    *argmax = where;
}

// The gradient of the pixel (row, column), counted from the edge of the padding: the sum over the
// windows that see it. Downwards these are the windows from (row - KH) / SH + 1 to row / SH.
__device__ real gradient_of_pixel(const real* dy, const position* argmax, int row, int column,
                                  int OH, int OW, int KH, int KW, int SH, int SW) {
    int top = row < KH ? 0 : (row - KH) / SH + 1, left = column < KW ? 0 : (column - KW) / SW + 1;
    real sum = 0;
    for (int i = top; i <= min(row / SH, OH - 1); ++i)
        for (int j = left; j <= min(column / SW, OW - 1); ++j)
            if (argmax[i * OW + j] == KW * (row - i * SH) + column - j * SW) sum += dy[i * OW + j];
    return sum;
}

// How many pixels of window i lie inside the map, along an axis of `length` pixels.
__device__ int pixels_inside(int i, int length, int K, int S, int P) {
    return min(i * S - P + K, length) - max(i * S - P, 0);
}

// The mean of the window at (i, j), over its pixels inside the map.
__device__ real mean_of_window(const real* map, int i, int j, int H, int W, int KH, int KW, int SH,
                               int SW, int PH, int PW) {
    int top = max(i * SH - PH, 0), left = max(j * SW - PW, 0);
    int height = pixels_inside(i, H, KH, SH, PH), width = pixels_inside(j, W, KW, SW, PW);
    real sum = 0;
    for (int row = top; row < top + height; ++row)
        for (int column = left; column < left + width; ++column) sum += map[row * W + column];
    return sum / (height * width);
}

// The gradient of the pixel (row, column), counted from the edge of the padding: the sum of an even
// share of the gradient of each window that sees it.
__device__ real share_of_pixel(const real* dy, int row, int column, int H, int W, int OH, int OW,
                               int KH, int KW, int SH, int SW, int PH, int PW) {
    int top = row < KH ? 0 : (row - KH) / SH + 1, left = column < KW ? 0 : (column - KW) / SW + 1;
    real sum = 0;
    for (int i = top; i <= min(row / SH, OH - 1); ++i)
        for (int j = left; j <= min(column / SW, OW - 1); ++j) {
            int pixels = pixels_inside(i, H, KH, SH, PH) * pixels_inside(j, W, KW, SW, PW);
            sum += dy[i * OW + j] / pixels;
        }
    return sum;
}

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void maxpool_forward_1(index_t total, const real* x, real* y,
                                             position* argmax, int H, int W, int OH, int OW,
                                             int KH, int KW, int SH, int SW, int PH, int PW) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    int j = o % OW, i = o / OW % OH;
    const real* map = x + o / OW / OH * H * W;
    largest_of_window(map, y + o, argmax + o, i, j, H, W, KH, KW, SH, SW, PH, PW);
}

extern "C" __global__ void maxpool_backward_1(index_t total, const real* dy, const position* argmax,
                                              real* dx, int H, int W, int OH, int OW,
                                              int KH, int KW, int SH, int SW, int PH, int PW) {
    index_t p = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= total) return;
    int column = p % W + PW, row = p / W % H + PH;
    index_t map = p / W / H * OH * OW;
    dx[p] = gradient_of_pixel(dy + map, argmax + map, row, column, OH, OW, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_forward_1(index_t total, const real* x, real* y, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW,
                                             int PH, int PW) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    int j = o % OW, i = o / OW % OH;
    y[o] = mean_of_window(x + o / OW / OH * H * W, i, j, H, W, KH, KW, SH, SW, PH, PW);
}

extern "C" __global__ void avgpool_backward_1(index_t total, const real* dy, real* dx, int H, int W,
                                              int OH, int OW, int KH, int KW, int SH, int SW,
                                              int PH, int PW) {
    index_t p = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= total) return;
    int column = p % W + PW, row = p / W % H + PH;
    const real* map = dy + p / W / H * OH * OW;
    dx[p] = share_of_pixel(map, row, column, H, W, OH, OW, KH, KW, SH, SW, PH, PW);
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void maxpool_forward_2(const real* x, real* y, position* argmax, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW,
                                             int PH, int PW) {
    extern __shared__ real map[];  // (H, W)
    const real* from = x + (index_t)blockIdx.x * H * W;
    index_t to = (index_t)blockIdx.x * OH * OW;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x) map[p] = from[p];
    __syncthreads();  // the map is complete
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x)
        largest_of_window(map, y + to + o, argmax + to + o, o / OW, o % OW,
                          H, W, KH, KW, SH, SW, PH, PW);
}

extern "C" __global__ void maxpool_backward_2(const real* dy, const position* argmax, real* dx,
                                              int H, int W, int OH, int OW, int KH, int KW,
                                              int SH, int SW, int PH, int PW) {
    extern __shared__ real gradients[];                    // (OH, OW)
    position* winners = (position*)(gradients + OH * OW);  // (OH, OW), stored after the gradients
    index_t from = (index_t)blockIdx.x * OH * OW;
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x) {
        gradients[o] = dy[from + o];
        winners[o] = argmax[from + o];
    }
    __syncthreads();
    real* to = dx + (index_t)blockIdx.x * H * W;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x)
        to[p] = gradient_of_pixel(gradients, winners, p / W + PH, p % W + PW,
                                  OH, OW, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_forward_2(const real* x, real* y, int H, int W, int OH, int OW,
                                             int KH, int KW, int SH, int SW, int PH, int PW) {
    extern __shared__ real map[];  // (H, W)
    const real* from = x + (index_t)blockIdx.x * H * W;
    real* to = y + (index_t)blockIdx.x * OH * OW;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x) map[p] = from[p];
    __syncthreads();  // the map is complete
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x)
        to[o] = mean_of_window(map, o / OW, o % OW, H, W, KH, KW, SH, SW, PH, PW);
}

extern "C" __global__ void avgpool_backward_2(const real* dy, real* dx, int H, int W,
                                              int OH, int OW, int KH, int KW, int SH, int SW,
                                              int PH, int PW) {
    extern __shared__ real gradients[];  // (OH, OW)
    const real* from = dy + (index_t)blockIdx.x * OH * OW;
    real* to = dx + (index_t)blockIdx.x * H * W;
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x) gradients[o] = from[o];
    __syncthreads();
    for (int p = threadIdx.x; p < H * W; p += blockDim.x)
        to[p] = share_of_pixel(gradients, p / W + PH, p % W + PW,
                               H, W, OH, OW, KH, KW, SH, SW, PH, PW);
}

// ---- version 3 ---------------------------------------------------------------------------------
#define WINDOW 3
#define STRIDE 2

extern "C" __global__ void maxpool_forward_3(index_t total, const real* __restrict__ x,
                                             real* __restrict__ y, position* __restrict__ argmax,
                                             int H, int W, int OH, int OW) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    int j = o % OW, i = o / OW % OH;
    largest_of_window(x + o / OW / OH * H * W, y + o, argmax + o, i, j,
                      H, W, WINDOW, WINDOW, STRIDE, STRIDE, 0, 0);
}

// (i, j) of the square: its pixels are (2i, 2j) to (2i + 1, 2j + 1). The window above has two rows
// more than the square and reaches into it with its last one; the window at the left likewise.
extern "C" __global__ void maxpool_backward_3(index_t total, const real* __restrict__ dy,
                                              const position* __restrict__ argmax,
                                              real* __restrict__ dx,
                                              int H, int W, int OH, int OW) {
    index_t square = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (square >= total) return;
    int down = (H + 1) / STRIDE, across = (W + 1) / STRIDE;
    int j = square % across, i = square / across % down;
    index_t map = square / across / down;
    real sums[STRIDE][STRIDE] = {};
    for (int a = 0; a < STRIDE; ++a)              // the window above, then this one
        for (int b = 0; b < STRIDE; ++b) {        // the window at the left, then this one
            int row = i - 1 + a, column = j - 1 + b;
            if (row < 0 || row >= OH || column < 0 || column >= OW) continue;
            index_t o = (map * OH + row) * OW + column;
            real gradient = dy[o];
            int winner = argmax[o];
            for (int u = 0; u < STRIDE; ++u)      // pixel (u, v) of the square, as the window
                for (int v = 0; v < STRIDE; ++v)  // counts its own
                    if (winner == WINDOW * (u + STRIDE - STRIDE * a) + v + STRIDE - STRIDE * b
                            && v + STRIDE - STRIDE * b < WINDOW)
                        sums[u][v] += gradient;
        }
    real* to = dx + (map * H + STRIDE * i) * W + STRIDE * j;
    for (int u = 0; u < STRIDE; ++u)
        for (int v = 0; v < STRIDE; ++v)
            if (STRIDE * i + u < H && STRIDE * j + v < W) to[u * W + v] = sums[u][v];
}
