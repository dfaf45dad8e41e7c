// The fully connected layer: matrix products.   N images  IN, OUT units  w is (OUT, IN)
//
// Version 1  One thread per element of the result, the loops of reference/linear.py: a row of x
//            times a row of w. Every element of w is read from memory N times, once for each
//            image, and every element of x OUT times.
// Version 2  Tiles. A block computes TILE x TILE elements of the result. It copies a TILE x TILE
//            piece of either matrix into shared memory, waits until both are complete, multiplies,
//            waits until no thread reads them any more, and goes on along the inner axis: an
//            element is read from memory once for TILE results. One kernel serves all three
//            products: two strides say which axis of a matrix is its row.
// Version 3  cuBLAS computes the products. It does the same with larger tiles, more results per
//            thread, and copies that overlap the arithmetic. Two kernels remain: one adds the
//            bias, with a thread per element, and one sums db. With one thread for a unit, the sum
//            over a batch would be one long wait for memory after the other: here SHARES
//            threads divide the images of a unit, and their sums meet in shared memory.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define TILE 16
#define UNITS 32  // of a block of linear_db_3
#define SHARES 16

// ---- version 1 ---------------------------------------------------------------------------------
extern "C" __global__ void linear_forward_1(index_t total, const real* x, const real* w,
                                            const real* b, real* y, int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t image = k / OUT, o = k % OUT;
    real sum = b[o];
    for (int i = 0; i < IN; ++i) sum += w[o * IN + i] * x[image * IN + i];
    y[k] = sum;
}

extern "C" __global__ void linear_dx_1(index_t total, const real* dy, const real* w, real* dx,
                                       int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t image = k / IN, i = k % IN;
    real sum = 0;
    for (index_t o = 0; o < OUT; ++o) sum += dy[image * OUT + o] * w[o * IN + i];
    dx[k] = sum;
}

extern "C" __global__ void linear_dw_1(index_t total, const real* dy, const real* x, real* dw,
                                       int N, int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t o = k / IN, i = k % IN;
    real sum = 0;
    for (index_t image = 0; image < N; ++image) sum += dy[image * OUT + o] * x[image * IN + i];
    dw[k] = sum;
}

// Neighbouring threads read neighbouring units of each image, and no element is read twice.
extern "C" __global__ void linear_db_1(index_t total, const real* dy, real* db, int N, int OUT) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    real sum = 0;
    for (index_t image = 0; image < N; ++image) sum += dy[image * OUT + o];
    db[o] = sum;
}

// ---- version 2 ---------------------------------------------------------------------------------
// c (ROWS, COLUMNS) = a (ROWS, INNER) times b (INNER, COLUMNS). a_row is the distance in elements
// from one row of a to the next, a_column from one column to the next; likewise for b. c is stored
// row by row.
extern "C" __global__ void matmul_2(const real* a, const real* b, real* c,
                                    int ROWS, int COLUMNS, int INNER,
                                    int a_row, int a_column, int b_row, int b_column) {
    __shared__ real a_tile[TILE][TILE], b_tile[TILE][TILE];
    int tiles_across = (COLUMNS + TILE - 1) / TILE;
    int row = blockIdx.x / tiles_across * TILE + threadIdx.y;
    int column = blockIdx.x % tiles_across * TILE + threadIdx.x;
    real sum = 0;
    for (int start = 0; start < INNER; start += TILE) {
        int across = start + threadIdx.x, down = start + threadIdx.y;
        a_tile[threadIdx.y][threadIdx.x] = row < ROWS && across < INNER
            ? a[(index_t)row * a_row + (index_t)across * a_column] : 0;
        b_tile[threadIdx.y][threadIdx.x] = down < INNER && column < COLUMNS
            ? b[(index_t)down * b_row + (index_t)column * b_column] : 0;
        __syncthreads();  // both tiles are complete
        for (int t = 0; t < TILE; ++t) sum += a_tile[threadIdx.y][t] * b_tile[t][threadIdx.x];
        __syncthreads();  // no thread reads them any more
    }
    if (row < ROWS && column < COLUMNS) c[(index_t)row * COLUMNS + column] = sum;
}

// ---- versions 2 and 3 --------------------------------------------------------------------------
extern "C" __global__ void add_bias_2(index_t total, real* y, const real* b, int OUT) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    index_t stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) y[i] += b[i % OUT];
}

// ---- version 3 ---------------------------------------------------------------------------------
extern "C" __global__ void linear_db_3(const real* __restrict__ dy, real* __restrict__ db,
                                       int N, int OUT) {
    __shared__ real sums[SHARES][UNITS];
    int o = blockIdx.x * UNITS + threadIdx.x;
    real sum = 0;
    for (int image = threadIdx.y; image < N && o < OUT; image += SHARES)
        sum += dy[(index_t)image * OUT + o];
    sums[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y > 0 || o >= OUT) return;
    for (int share = 1; share < SHARES; ++share) sum += sums[share][threadIdx.x];
    db[o] = sum;
}
