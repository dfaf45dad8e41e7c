// The fully connected layer: matrix products.   N images  IN, OUT units  w is (OUT, IN)
//
// Version 1  One thread per element of the result, the loops of reference/linear.py: a row of x by a row of w. Every
//            element of w is read from memory N times, once for each image, and those of x OUT times.
// Version 2  Tiles. A block makes TILE x TILE elements of the result. It copies a TILE x TILE piece of either
//            matrix into shared memory, waits until it is whole, multiplies, waits until nobody reads it any more, and
//            goes on along the inner axis: an element is read from memory once for TILE results. One kernel serves all
//            three products: which axis of a matrix is its row is only a question of two strides.
// Version 3  cuBLAS makes the product: the same idea with larger tiles, more results to a thread and copies that
//            overlap the arithmetic. What is left for us: to add the bias, a thread per element, and to sum db.
//
// real: float or double.  index_t: int, or long long for an array of more than 2^30 elements.

#define TILE 16

// ---- version 1 -----------------------------------------------------------------------------------------------------
extern "C" __global__ void linear_forward_1(index_t total, const real* x, const real* w, const real* b, real* y,
                                            int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t image = k / OUT, o = k % OUT;
    real sum = b[o];
    for (int i = 0; i < IN; ++i) sum += w[o * IN + i] * x[image * IN + i];
    y[k] = sum;
}

extern "C" __global__ void linear_dx_1(index_t total, const real* dy, const real* w, real* dx, int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t image = k / IN, i = k % IN;
    real sum = 0;
    for (index_t o = 0; o < OUT; ++o) sum += dy[image * OUT + o] * w[o * IN + i];
    dx[k] = sum;
}

extern "C" __global__ void linear_dw_1(index_t total, const real* dy, const real* x, real* dw, int N, int IN, int OUT) {
    index_t k = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= total) return;
    index_t o = k / IN, i = k % IN;
    real sum = 0;
    for (index_t image = 0; image < N; ++image) sum += dy[image * OUT + o] * x[image * IN + i];
    dw[k] = sum;
}

// Also what later versions use: neighbouring threads read neighbouring units of each image, there is nothing to share.
extern "C" __global__ void linear_db_1(index_t total, const real* dy, real* db, int N, int OUT) {
    index_t o = (index_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (o >= total) return;
    real sum = 0;
    for (index_t image = 0; image < N; ++image) sum += dy[image * OUT + o];
    db[o] = sum;
}

// ---- version 2 -----------------------------------------------------------------------------------------------------
// c (ROWS, COLUMNS) = a (ROWS, INNER) times b (INNER, COLUMNS). a_row and a_column: how many elements lie between one
// row of a and the next, one column and the next; likewise b. c is stored row after row.
extern "C" __global__ void matmul_2(const real* a, const real* b, real* c, int ROWS, int COLUMNS, int INNER,
                                    int a_row, int a_column, int b_row, int b_column) {
    __shared__ real a_tile[TILE][TILE], b_tile[TILE][TILE];
    int tiles_across = (COLUMNS + TILE - 1) / TILE;
    int row = blockIdx.x / tiles_across * TILE + threadIdx.y;
    int column = blockIdx.x % tiles_across * TILE + threadIdx.x;
    real sum = 0;
    for (int start = 0; start < INNER; start += TILE) {
        int across = start + threadIdx.x, down = start + threadIdx.y;
        a_tile[threadIdx.y][threadIdx.x] =
            row < ROWS && across < INNER ? a[(index_t)row * a_row + (index_t)across * a_column] : 0;
        b_tile[threadIdx.y][threadIdx.x] =
            down < INNER && column < COLUMNS ? b[(index_t)down * b_row + (index_t)column * b_column] : 0;
        __syncthreads();  // both tiles are whole
        for (int t = 0; t < TILE; ++t) sum += a_tile[threadIdx.y][t] * b_tile[t][threadIdx.x];
        __syncthreads();  // nobody reads them any more
    }
    if (row < ROWS && column < COLUMNS) c[(index_t)row * COLUMNS + column] = sum;
}

// ---- versions 2 and 3 ----------------------------------------------------------------------------------------------
extern "C" __global__ void add_bias_2(index_t total, real* y, const real* b, int OUT) {
    index_t first = (index_t)blockIdx.x * blockDim.x + threadIdx.x, stride = (index_t)gridDim.x * blockDim.x;
    for (index_t i = first; i < total; i += stride) y[i] += b[i % OUT];
}
