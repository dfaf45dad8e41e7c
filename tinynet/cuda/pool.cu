// Overlapping pooling: max, and average.
//
//     H W  |  OH OW output  |  KH KW window  |  SH SW stride
//     (i, j) output pixel  (u, v) window pixel  (row, column) image pixel
//
// Version 1  One thread per element of the result. Forward is the loop of reference/pool.py. Backward turns its loop
//            round: there each window sends its gradient to a pixel, and two threads that send to one pixel would
//            overwrite each other, or need atomic additions, whose order and so whose last bits change from run to run.
//            Here each pixel asks the windows that see it whether it won, and adds up in one order: the same bits every
//            time.
// Version 2  One block per map. It copies the map (backward: the gradients and winners of the map) into shared memory,
//            in one stretch, whatever the stride of the windows; a barrier; then windows, or pixels, are shared out
//            among the threads. What overlapping windows see twice or four times comes from memory once. And a pixel
//            within a map is numbered by an int even where the whole array needs 64 bits.
//
// real: float or double.  position: the smallest unsigned type that can number the pixels of a window.
// index_t: int, or long long for an array of more than 2^30 elements.

// The largest of the window at (i, j), clipped at the edges of the map. NaN counts as larger than any number.
__device__ void largest_of_window(const real* map, real* y, position* argmax, int i, int j,
                                  int H, int W, int KH, int KW, int SH, int SW) {
    real largest = map[i * SH * W + j * SW];  // its first pixel always lies within the map
    position where = 0;
    for (int u = 0; u < KH && i * SH + u < H; ++u)
        for (int v = 0; v < KW && j * SW + v < W; ++v) {
            real value = map[(i * SH + u) * W + j * SW + v];
            if (value > largest || value != value) {
                largest = value;
                where = KW * u + v;
            }
        }
    *y = largest;
    *argmax = where;
}

// What the pixel (row, column) gets from all windows that see it: those from (row - KH) / SH + 1 to row / SH.
__device__ real gradient_of_pixel(const real* dy, const position* argmax, int row, int column,
                                  int OH, int OW, int KH, int KW, int SH, int SW) {
    int top = row < KH ? 0 : (row - KH) / SH + 1, left = column < KW ? 0 : (column - KW) / SW + 1;
    real sum = 0;
    for (int i = top; i <= min(row / SH, OH - 1); ++i)
        for (int j = left; j <= min(column / SW, OW - 1); ++j)
            if (argmax[i * OW + j] == KW * (row - i * SH) + column - j * SW) sum += dy[i * OW + j];
    return sum;
}

// The mean of the window at (i, j), clipped at the edges of the map.
__device__ real mean_of_window(const real* map, int i, int j, int H, int W, int KH, int KW, int SH, int SW) {
    int bottom = min(i * SH + KH, H), right = min(j * SW + KW, W);
    real sum = 0;
    for (int row = i * SH; row < bottom; ++row)
        for (int column = j * SW; column < right; ++column) sum += map[row * W + column];
    return sum / ((bottom - i * SH) * (right - j * SW));
}

// What the pixel (row, column) gets from all windows that see it: an even share of each.
__device__ real share_of_pixel(const real* dy, int row, int column,
                               int H, int W, int OH, int OW, int KH, int KW, int SH, int SW) {
    int top = row < KH ? 0 : (row - KH) / SH + 1, left = column < KW ? 0 : (column - KW) / SW + 1;
    real sum = 0;
    for (int i = top; i <= min(row / SH, OH - 1); ++i)
        for (int j = left; j <= min(column / SW, OW - 1); ++j)
            sum += dy[i * OW + j] / (min(KH, H - i * SH) * min(KW, W - j * SW));
    return sum;
}

// ---- version 1 -----------------------------------------------------------------------------------------------------
extern "C" __global__ void maxpool_forward_1(index_t total, const real* x, real* y, position* argmax, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    int j = o % OW, i = o / OW % OH;
    const real* map = x + o / OW / OH * H * W;
    largest_of_window(map, y + o, argmax + o, i, j, H, W, KH, KW, SH, SW);
}

extern "C" __global__ void maxpool_backward_1(index_t total, const real* dy, const position* argmax, real* dx,
                                              int H, int W, int OH, int OW, int KH, int KW, int SH, int SW) {
    index_t p = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= total) return;
    int column = p % W, row = p / W % H;
    index_t map = p / W / H * OH * OW;
    dx[p] = gradient_of_pixel(dy + map, argmax + map, row, column, OH, OW, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_forward_1(index_t total, const real* x, real* y, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    y[o] = mean_of_window(x + o / OW / OH * H * W, o / OW % OH, o % OW, H, W, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_backward_1(index_t total, const real* dy, real* dx, int H, int W,
                                              int OH, int OW, int KH, int KW, int SH, int SW) {
    index_t p = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (p >= total) return;
    dx[p] = share_of_pixel(dy + p / W / H * OH * OW, p / W % H, p % W, H, W, OH, OW, KH, KW, SH, SW);
}

// ---- version 2 -----------------------------------------------------------------------------------------------------
extern "C" __global__ void maxpool_forward_2(const real* x, real* y, position* argmax, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW) {
    extern __shared__ real map[];  // (H, W)
    const real* from = x + (index_t)blockIdx.x * H * W;
    index_t to = (index_t)blockIdx.x * OH * OW;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x) map[p] = from[p];
    __syncthreads();  // the map is whole
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x)
        largest_of_window(map, y + to + o, argmax + to + o, o / OW, o % OW, H, W, KH, KW, SH, SW);
}

extern "C" __global__ void maxpool_backward_2(const real* dy, const position* argmax, real* dx, int H, int W,
                                              int OH, int OW, int KH, int KW, int SH, int SW) {
    extern __shared__ real gradients[];                   // (OH, OW)
    position* winners = (position*)(gradients + OH * OW); // (OH, OW), behind them
    index_t from = (index_t)blockIdx.x * OH * OW;
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x) {
        gradients[o] = dy[from + o];
        winners[o] = argmax[from + o];
    }
    __syncthreads();
    real* to = dx + (index_t)blockIdx.x * H * W;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x)
        to[p] = gradient_of_pixel(gradients, winners, p / W, p % W, OH, OW, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_forward_2(const real* x, real* y, int H, int W,
                                             int OH, int OW, int KH, int KW, int SH, int SW) {
    extern __shared__ real map[];  // (H, W)
    const real* from = x + (index_t)blockIdx.x * H * W;
    real* to = y + (index_t)blockIdx.x * OH * OW;
    for (int p = threadIdx.x; p < H * W; p += blockDim.x) map[p] = from[p];
    __syncthreads();  // the map is whole
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x)
        to[o] = mean_of_window(map, o / OW, o % OW, H, W, KH, KW, SH, SW);
}

extern "C" __global__ void avgpool_backward_2(const real* dy, real* dx, int H, int W,
                                              int OH, int OW, int KH, int KW, int SH, int SW) {
    extern __shared__ real gradients[];  // (OH, OW)
    const real* from = dy + (index_t)blockIdx.x * OH * OW;
    real* to = dx + (index_t)blockIdx.x * H * W;
    for (int o = threadIdx.x; o < OH * OW; o += blockDim.x) gradients[o] = from[o];
    __syncthreads();
    for (int p = threadIdx.x; p < H * W; p += blockDim.x)
        to[p] = share_of_pixel(gradients, p / W, p % W, H, W, OH, OW, KH, KW, SH, SW);
}
