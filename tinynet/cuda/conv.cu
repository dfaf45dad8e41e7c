// Convolution.
//
//     C channels  H W  |  K kernels  CG channels of a group  KG kernels of a group  KH KW
//     OH OW output  P = OH * OW  |  SH SW stride  PH PW padding
//     M images of one piece of the batch  |  o kernel  c channel of the group
//     (i, j) output pixel  (u, v) kernel pixel  (row, column) image pixel
//
// Version 1  One thread per element of the result, the loops of reference/conv.py. A thread of
//            forward runs the inner loops. In the reference's backward each product is added to
//            the elements of dw and dx that it belongs to, but two threads must not add to one
//            number: here each element of dw, dx and db collects its own products, a gather
//            instead of a scatter.
// Version 2  Forward in tiles, through shared memory. Convolution multiplies the kernels (KG,
//            CG*KH*KW) by the columns (CG*KH*KW, P), where a column holds all that one window
//            sees. A block computes TILE x TILE results. It copies TILE x TILE pieces of both into
//            shared memory, the piece of the columns straight from the image: the whole columns
//            never exist. Each element is read from memory once for TILE results. db has one block
//            per kernel, whose threads share the sum and combine it by a tree.
// Version 3  The columns are written to memory (im2col), and cuBLAS multiplies. Nine tenths of the
//            arithmetic of AlexNet's layers are in this product, at which GPUs are best. The
//            kernels around it only move numbers: im2col, col2im, one that puts the product in its
//            place and adds the bias, and one that lays dy out like the product.
//
//            The kernels that move numbers have versions of their own. im2col_1 copies one element
//            per thread, and computes five indices for it by division. im2col_2 copies what one
//            window sees of one channel: five indices for KH*KW copies, and neighbouring threads
//            still write to neighbouring elements. col2im_1 asks for all KH*KW positions whether a
//            window sees this pixel there. col2im_2 visits only the windows that see it: for
//            conv1, with 11 x 11 pixels 4 apart, 9 windows instead of 121 positions. Both gather:
//            there are no atomic additions, the order is fixed, and every run gives the same bits.
//            conv2d_db_3 adds up 32 threads by shuffles, from register to register, as softmax.cu
//            does: one barrier instead of the eleven of the tree.
//
//            `__restrict__` promises that no other argument reaches this memory: loads need not
//            wait for the stores before them.
//
// implicit.cu has the convolution without columns, and a ladder of its own: version 2 above for all
// three directions, and what is needed to come near cuBLAS.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define TILE 16
#define WARP 32
#define THREADS 1024  // of one block that sums db of one kernel; WARP warps

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void conv2d_forward_1(index_t total, const real* x, const real* w,
                                            const real* b, real* y, int C, int H, int W,
                                            int K, int CG, int KH, int KW, int OH, int OW,
                                            int SH, int SW, int PH, int PW) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    int j = n % OW, i = n / OW % OH, o = n / OW / OH % K;
    index_t image = n / OW / OH / K;
    int q = o / (K / (C / CG));  // the group of this kernel
    real sum = b[o];
    for (int c = 0; c < CG; ++c)
        for (int u = 0; u < KH; ++u)
            for (int v = 0; v < KW; ++v) {
                int row = i * SH + u - PH, column = j * SW + v - PW;
                if (0 <= row && row < H && 0 <= column && column < W)
                    sum += w[((o * CG + c) * KH + u) * KW + v] *
                           x[((image * C + q * CG + c) * H + row) * W + column];
            }
    y[n] = sum;
}

extern "C" __global__ void conv2d_dx_1(index_t total, const real* dy, const real* w, real* dx,
                                       int C, int H, int W, int K, int CG, int KH, int KW,
                                       int OH, int OW, int SH, int SW, int PH, int PW) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    int column = n % W, row = n / W % H, channel = n / W / H % C;
    index_t image = n / W / H / C;
    int q = channel / CG, c = channel % CG, KG = K / (C / CG);
    real sum = 0;
    for (int o = q * KG; o < (q + 1) * KG; ++o)
        for (int u = 0; u < KH; ++u)
            for (int v = 0; v < KW; ++v) {
                int down = row + PH - u, across = column + PW - v;  // where the window begins
                if (down < 0 || across < 0 || down % SH || across % SW) continue;
                int i = down / SH, j = across / SW;
                if (i < OH && j < OW)
                    sum += dy[((image * K + o) * OH + i) * OW + j] *
                           w[((o * CG + c) * KH + u) * KW + v];
            }
    dx[n] = sum;
}

extern "C" __global__ void conv2d_dw_1(index_t total, const real* dy, const real* x, real* dw,
                                       int N,
                                       int C, int H, int W, int K, int CG, int KH, int KW,
                                       int OH, int OW, int SH, int SW, int PH, int PW) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    int v = n % KW, u = n / KW % KH, c = n / KW / KH % CG, o = n / KW / KH / CG;
    int q = o / (K / (C / CG));
    real sum = 0;
    for (index_t image = 0; image < N; ++image)
        for (int i = 0; i < OH; ++i)
            for (int j = 0; j < OW; ++j) {
                int row = i * SH + u - PH, column = j * SW + v - PW;
                if (0 <= row && row < H && 0 <= column && column < W)
                    sum += dy[((image * K + o) * OH + i) * OW + j] *
                           x[((image * C + q * CG + c) * H + row) * W + column];
            }
    dw[n] = sum;
}

extern "C" __global__ void conv2d_db_1(index_t total, const real* dy, real* db,
                                       int N, int K, int P) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    real sum = 0;
    for (index_t image = 0; image < N; ++image)
        for (int p = 0; p < P; ++p) sum += dy[(image * K + o) * P + p];
    db[o] = sum;
}

// ---- version 2 ---------------------------------------------------------------------------------
extern "C" __global__ void conv2d_forward_2(const real* x, const real* w, const real* b, real* y,
                                            int C, int H, int W, int K, int CG, int KH, int KW,
                                            int OH, int OW, int SH, int SW, int PH, int PW) {
    __shared__ real kernels[TILE][TILE], pixels[TILE][TILE];
    int G = C / CG, KG = K / G, R = CG * KH * KW, P = OH * OW;  // R: rows of the columns
    int p_tiles = (P + TILE - 1) / TILE, o_tiles = (KG + TILE - 1) / TILE;
    int tile = blockIdx.x;
    int p = tile % p_tiles * TILE + threadIdx.x;            // position in the image, along the tile
    int o = tile / p_tiles % o_tiles * TILE + threadIdx.y;  // kernel of the group, down the tile
    int q = tile / p_tiles / o_tiles % G;
    index_t image = tile / p_tiles / o_tiles / G;
    int top = p / OW * SH - PH, left = p % OW * SW - PW;    // where the window of p begins
    real sum = 0;
    for (int start = 0; start < R; start += TILE) {
        int r = start + threadIdx.x;
        kernels[threadIdx.y][threadIdx.x] = o < KG && r < R ? w[(index_t)(q * KG + o) * R + r] : 0;
        r = start + threadIdx.y;
        int c = r / (KH * KW), row = top + r / KW % KH, column = left + r % KW;
        bool inside = p < P && r < R && 0 <= row && row < H && 0 <= column && column < W;
        pixels[threadIdx.y][threadIdx.x] =
            inside ? x[((image * C + q * CG + c) * H + row) * W + column] : 0;
        __syncthreads();  // both tiles are complete
        for (int t = 0; t < TILE; ++t) sum += kernels[threadIdx.y][t] * pixels[t][threadIdx.x];
        __syncthreads();  // no thread reads them any more
    }
    if (o < KG && p < P) y[(image * K + q * KG + o) * P + p] = sum + b[q * KG + o];
}

extern "C" __global__ void conv2d_db_2(const real* __restrict__ dy, real* __restrict__ db,
                                       int N, int K, int P) {
    __shared__ real sums[THREADS];
    real sum = 0;
    for (index_t n = threadIdx.x; n < (index_t)N * P; n += THREADS)
        sum += dy[(n / P * K + blockIdx.x) * P + n % P];
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (int half = THREADS / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) db[blockIdx.x] = sums[0];
}

// ---- version 3: what stands around cuBLAS ------------------------------------------------------
__device__ real warp_sum(real value) {
    for (int half = WARP / 2; half > 0; half /= 2) value += __shfl_xor_sync(~0u, value, half);
    return value;
}

extern "C" __global__ void conv2d_db_3(const real* __restrict__ dy, real* __restrict__ db,
                                       int N, int K, int P) {
    __shared__ real of_warps[WARP];
    int lane = threadIdx.x % WARP;
    real sum = 0;
    for (index_t n = threadIdx.x; n < (index_t)N * P; n += THREADS)
        sum += dy[(n / P * K + blockIdx.x) * P + n % P];
    sum = warp_sum(sum);
    if (lane == 0) of_warps[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x >= WARP) return;
    sum = warp_sum(of_warps[lane]);  // the first warp adds up the sums of all
    if (lane == 0) db[blockIdx.x] = sum;
}

// x (M, C, H, W) -> cols (C*KH*KW, M*OH*OW), one thread per element of cols.
extern "C" __global__ void im2col_1(index_t total, const real* x, real* cols, int M, int C,
                                    int H, int W, int KH, int KW, int OH, int OW,
                                    int SH, int SW, int PH, int PW) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    index_t width = (index_t)M * OH * OW;
    index_t across = n % width, r = n / width;  // column and row of cols
    int j = across % OW, i = across / OW % OH, v = r % KW, u = r / KW % KH, c = r / KW / KH;
    index_t image = across / OW / OH;
    int row = i * SH + u - PH, column = j * SW + v - PW;
    bool inside = 0 <= row && row < H && 0 <= column && column < W;
    cols[n] = inside ? x[((image * C + c) * H + row) * W + column] : 0;
}

// The same copies, with one thread per window and channel: total = C * M * OH * OW.
extern "C" __global__ void im2col_2(index_t total, const real* __restrict__ x,
                                    real* __restrict__ cols, int M, int C,
                                    int H, int W, int KH, int KW, int OH, int OW,
                                    int SH, int SW, int PH, int PW) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    index_t width = (index_t)M * OH * OW;
    for (index_t n = first; n < total; n += stride) {
        int j = n % OW, i = n / OW % OH, c = n / width;
        index_t across = n % width, image = across / OW / OH;
        int top = i * SH - PH, left = j * SW - PW;
        const real* map = x + (image * C + c) * H * W;
        real* to = cols + (index_t)c * KH * KW * width + across;
        for (int row = top; row < top + KH; ++row)
            for (int column = left; column < left + KW; ++column) {
                bool inside = 0 <= row && row < H && 0 <= column && column < W;
                *to = inside ? map[row * W + column] : 0;
                to += width;
            }
    }
}

// cols (C*KH*KW, M*OH*OW) -> x (M, C, H, W), one thread per pixel.
extern "C" __global__ void col2im_1(index_t total, const real* cols, real* x, int M, int C,
                                    int H, int W, int KH, int KW, int OH, int OW,
                                    int SH, int SW, int PH, int PW) {
    index_t n = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= total) return;
    int column = n % W, row = n / W % H, c = n / W / H % C;
    index_t image = n / W / H / C;
    real sum = 0;
    for (int u = 0; u < KH; ++u)
        for (int v = 0; v < KW; ++v) {
            int down = row + PH - u, across = column + PW - v;  // where the window begins
            if (down < 0 || across < 0 || down % SH || across % SW) continue;
            int i = down / SH, j = across / SW;
            if (i < OH && j < OW)
                sum += cols[((((index_t)c * KH + u) * KW + v) * M + image) * OH * OW + i * OW + j];
        }
    x[n] = sum;
}

extern "C" __global__ void col2im_2(index_t total, const real* __restrict__ cols,
                                    real* __restrict__ x, int M, int C,
                                    int H, int W, int KH, int KW, int OH, int OW,
                                    int SH, int SW, int PH, int PW) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t n = first; n < total; n += stride) {
        int column = n % W + PW, row = n / W % H + PH;  // counted from the edge of the padding
        int c = n / W / H % C;
        index_t image = n / W / H / C;
        int top = row < KH ? 0 : (row - KH) / SH + 1;
        int left = column < KW ? 0 : (column - KW) / SW + 1;
        real sum = 0;
        for (int i = top; i <= min(row / SH, OH - 1); ++i)
            for (int j = left; j <= min(column / SW, OW - 1); ++j) {
                int u = row - i * SH, v = column - j * SW;
                sum += cols[((((index_t)c * KH + u) * KW + v) * M + image) * OH * OW + i * OW + j];
            }
        x[n] = sum;
    }
}

// product (K, M, P) -> y (M, K, P), plus the bias of each kernel. One block per map.
extern "C" __global__ void place_product_3(const real* __restrict__ product,
                                           const real* __restrict__ b, real* __restrict__ y,
                                           int M, int K, int P) {
    int image = blockIdx.x / K, o = blockIdx.x % K;
    const real* from = product + ((index_t)o * M + image) * P;
    real* to = y + (index_t)blockIdx.x * P;
    for (int p = threadIdx.x; p < P; p += blockDim.x) to[p] = from[p] + b[o];
}

// dy (M, K, P) -> product (K, M, P). One block per map.
extern "C" __global__ void lay_out_like_product_3(const real* __restrict__ dy,
                                                  real* __restrict__ product,
                                                  int M, int K, int P) {
    int image = blockIdx.x / K, o = blockIdx.x % K;
    const real* from = dy + (index_t)blockIdx.x * P;
    real* to = product + ((index_t)o * M + image) * P;
    for (int p = threadIdx.x; p < P; p += blockDim.x) to[p] = from[p];
}
