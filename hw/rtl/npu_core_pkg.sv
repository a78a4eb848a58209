// Types and functions that the blocks of the core share.

package npu_core_pkg;

  // Array multipliers that are built in logic: as many as the wanted products exceed the device's
  // DSP blocks (those of an LFE5U-85F, unless synthesis passes NPU_DSP). Wanted are one per MAC,
  // two per requantiser lane, three for addresses and two more per drained row. The array's 8 × 8
  // products are the cheapest in logic.
`ifdef NPU_DSP
  localparam int unsigned DeviceDsp = `NPU_DSP;
`else
  localparam int unsigned DeviceDsp = 156;
`endif
  localparam int unsigned WantedDsp = (npu_pkg::Rows + 2 * npu_pkg::DrainRows) * npu_pkg::Lanes +
      3 + 2 * npu_pkg::DrainRows;
  localparam int unsigned LogicMacs = WantedDsp > DeviceDsp ? WantedDsp - DeviceDsp : 0;

  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  // Accumulator width: a sum of at most as many products of 2^14 as there are weight words, and the
  // sign. The sums of average pooling (a lane's part of the largest feature map) need as many bits.
  localparam int unsigned AccBits = 15 + npu_pkg::WeightAddrBits;

  // Entries of the element-wise operand's queue. A tile waits for all of its own entries; some 38
  // cycles pass from an entry's request to its use.
  localparam int unsigned EltwiseDepth = 64;
  typedef logic [$clog2(EltwiseDepth):0] eltwise_count_t;

  // Row or column of a feature map, padding included.
  typedef logic signed [12:0] coordinate_t;
  // Vector number within a channel: pixel index divided by `Lanes`.
  typedef logic signed [19:0] word_t;
  // Channel number over all banks; its low bits are the bank.
  typedef logic [12:0] channel_t;

  // Layout of a tensor in the banks, in vectors (see `runtime-nostd/src/npu/isa.rs`).
  typedef struct packed {
    logic [15:0]        base;
    logic [15:0]        plane;
    logic signed [15:0] w_first;
    logic [15:0]        pos_first;
  } layout_t;

  // One tile (up to `Lanes` pixels) of one group of output channels (up to `Rows`).
  typedef struct packed {
    logic [10:0] channel;  // first output channel of the group
    logic [10:0] group;  // group number
    logic [npu_pkg::RowBits-1:0] row_first;  // array row of that channel
    logic [npu_pkg::RowBits:0] rows;  // array rows with a channel
    logic [11:0] y;  // output pixel of lane 0
    logic [11:0] x;
    logic [15:0] number;  // tile number within the group
    logic [LaneBits-1:0] offset;  // row mode: offset of the first pixel within its vector
    logic [LaneBits:0] num_lanes;  // lanes with a pixel of the map
    logic first;  // first tile of the command
    logic group_first;
    // Copied from the command's shape_t.
    logic dense;
    logic sparse;
    logic average;
    logic eltwise;
  } tile_t;

  // Constants of a command that the iterators need at every step. They are computed once, while the
  // command is checked.
  typedef struct packed {
    logic dense;
    logic sparse;
    logic average;
    logic row_mode;
    logic eltwise;  // has an element-wise operand
    logic one_tap;  // 1 × 1 kernel
    logic one_word;  // a window row has a single vector
    logic one_channel;  // the first channel is the last one
    logic one_tile;
    logic one_line;
    logic one_group;
    logic [npu_pkg::RowBits-1:0] row_first;  // of the first group
    logic [npu_pkg::RowBits:0]
        rows_first;  // rows with a channel: in the first group, in the last group
    logic [npu_pkg::RowBits:0] rows_last;
    logic [10:0] groups;
    // Step from one tile to the next, in columns and rows; `back_x` steps to the same column of the
    // next row, and `beyond` is that column for the first tile's successor.
    logic [12:0] step_x;
    logic [11:0] step_y;
    logic [13:0] back_x;
    logic [13:0] beyond;
    logic [LaneBits-1:0] offset;  // of the first tile
    logic [11:0] rest;  // row mode: pixels from the first tile to the end of the row
    logic [LaneBits:0] num_lanes;  // of the first tile
  } shape_t;

  // Output of the sequencer: a vector to fetch for the next kernel row, and a tap of the current
  // one.
  typedef struct packed {
    logic        valid;
    logic        start;       // first step of a row slot: the window buffers swap
    logic        fetch;
    logic        fetch_ctx;   // context (of two) of the fetched vector
    logic [1:0]  word;        // vector number within the window row
    coordinate_t row;         // input pixel of lane 0 at tap column 0
    coordinate_t column;
    channel_t    channel;
    logic        tap;
    logic        tap_ctx;
    logic        fresh;       // first tap of a command
    logic        first;       // first tap of a tile: the accumulators restart
    logic        last;        // last tap of a tile
    logic        halves;      // the tile's results straddle two vectors
    logic        group_last;  // the tile is the last one of its group
  } step_t;

  // A tap in the data path.
  typedef struct packed {
    logic valid;
    logic ctx;
    logic fresh;
    logic first;
    logic last;
    logic halves;
    logic group_last;
  } tap_t;

  // One row of results, or two neighbouring rows, in the requantiser.
  typedef struct packed {
    logic [npu_pkg::DrainRows-1:0] valid;    // bit 0 is set whenever any bit is
    logic                          ctx;
    logic [10:0]                   channel;  // of the first row
    logic                          half;     // the second of two vectors
    logic                          pop;      // last use of the element-wise operand's vectors
    logic                          last;     // last result of the command
  } slot_t;

  // Product of two 4-bit numbers by shift and add; too small for a DSP block.
  function automatic logic [7:0] small_product(input logic [3:0] a, input logic [3:0] b);
    logic [5:0] low, high;
    low = (a[0] ? {2'b0, b} : '0) + (a[1] ? {1'b0, b, 1'b0} : '0);
    high = (a[2] ? {2'b0, b} : '0) + (a[3] ? {1'b0, b, 1'b0} : '0);
    return {2'b0, low} + {high, 2'b0};
  endfunction

  // Returns the lanes of a tile that starts `rest` pixels before the end of its row.
  function automatic logic [LaneBits:0] lanes_left(input logic [11:0] rest);
    return rest >= 12'(npu_pkg::Lanes) ? (LaneBits + 1)'(npu_pkg::Lanes) : rest[LaneBits:0];
  endfunction

  // Row mode: returns whether a tile's results straddle two vectors.
  function automatic logic crosses(input tile_t tile);
    return (LaneBits + 2)'(tile.offset) + (LaneBits + 2)'(tile.num_lanes) >
        (LaneBits + 2)'(npu_pkg::Lanes);
  endfunction

  function automatic shape_t shape_of(input npu_pkg::exec_t cmd);
    shape_t shape;
    logic [npu_pkg::RowBits:0] room;
    logic [11:0] span;
    shape.dense = cmd.mode == npu_pkg::ModeDense;
    shape.sparse = cmd.flags[npu_pkg::ExecFlagSparse];
    shape.average = cmd.mode == npu_pkg::ModeAverage;
    shape.row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
    shape.eltwise = cmd.residual[1:0] != npu_pkg::ResNone;
    shape.one_tap = cmd.k[3:0] == 4'd1;
    shape.one_word = cmd.window_words[2:0] == 3'd1;
    shape.one_channel = !shape.dense || cmd.in_channels[10:0] == 11'd1;
    shape.one_tile = cmd.tiles == 16'd1;
    shape.one_line = cmd.rows == 16'd1;
    shape.row_first = shape.dense ? '0 : cmd.in_origin[npu_pkg::RowBits-1:0];
    room = (npu_pkg::RowBits + 1)'(npu_pkg::Rows) - {1'b0, shape.row_first};
    shape.one_group = cmd.out_channels[10:0] <= 11'(room);
    shape.rows_first = shape.one_group ? cmd.out_channels[npu_pkg::RowBits:0] : room;
    // Array rows from the first group's first channel to the last group's last channel.
    span = 12'(cmd.out_channels[10:0]) + (12'(shape.row_first) + 12'(npu_pkg::Rows - 1));
    shape.rows_last = {1'b0, span[npu_pkg::RowBits-1:0]} + (npu_pkg::RowBits + 1)'(1);
    shape.groups = 11'(span >> npu_pkg::RowBits);
    shape.step_x = shape.row_mode ? 13'(npu_pkg::Lanes) : cmd.lane_step_x[12:0];
    shape.step_y = shape.row_mode ? '0 : cmd.lane_step_y[11:0];
    shape.back_x = {1'b0, cmd.lane_step_x[12:0]} - {1'b0, cmd.in_w[12:0]};
    shape.beyond = {2'b0, cmd.x_first[11:0]} + shape.back_x;
    shape.offset = shape.row_mode ?
        LaneBits'(small_product(4'(cmd.y_first[LaneBits-1:0]), 4'(cmd.out_w[LaneBits-1:0]))) +
        cmd.x_first[LaneBits-1:0] : '0;
    shape.rest = cmd.out_w[11:0] - cmd.x_first[11:0];
    shape.num_lanes = shape.row_mode ? lanes_left(shape.rest) : (LaneBits + 1)'(npu_pkg::Lanes);
    return shape;
  endfunction

endpackage
