// Types that the blocks of the core share.

package npu_core_pkg;

  // Products that the device's DSP blocks (an LFE5U-85F's, unless synthesis tells) do not hold beside the
  // requantiser's two a lane, three of addresses, and two of addresses a drained row: an array's small product
  // costs the least logic.
`ifdef NPU_DSP
  localparam int unsigned DeviceDsp = `NPU_DSP;
`else
  localparam int unsigned DeviceDsp = 156;
`endif
  localparam int unsigned WantedDsp =
      (npu_pkg::Rows + 2 * npu_pkg::DrainRows) * npu_pkg::Lanes + 3 + 2 * npu_pkg::DrainRows;
  localparam int unsigned LogicMacs = WantedDsp > DeviceDsp ? WantedDsp - DeviceDsp : 0;

  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  // Bits of an accumulator: a sum of at most as many products of 2^14 as there are weight words, and
  // its sign. An average's sums, a lane's share of the largest map, need as many.
  localparam int unsigned AccBits = 15 + npu_pkg::WeightAddrBits;

  // Entries of the second map's queue. A tile waits for all of its own; from an entry's request to its
  // use pass some 38 cycles.
  localparam int unsigned SecondDepth = 64;
  typedef logic [$clog2(SecondDepth):0] second_count_t;

  // Row or column of a map, padding included.
  typedef logic signed [12:0] coordinate_t;
  // Map word number; pixels divided by lanes.
  typedef logic signed [19:0] word_t;
  // Channel counted through all banks: bank in the low bits.
  typedef logic [12:0] channel_t;

  // Where a tensor lies in the banks (see isa.rs).
  typedef struct packed {
    logic [15:0] base;
    logic [15:0] plane;
    logic signed [15:0] w_first;
    logic [15:0] pos_first;
  } place_t;

  // One tile of one group of output channels.
  typedef struct packed {
    logic [10:0] channel;  // first output channel of the group
    logic [10:0] group;  // number of the group
    logic [npu_pkg::RowBits-1:0] row_first;  // row of that channel
    logic [npu_pkg::RowBits:0] rows;  // rows with a channel
    logic [11:0] y;  // output pixel of lane 0
    logic [11:0] x;
    logic [15:0] number;  // tile within the group
    logic [LaneBits-1:0] offset;  // row mode: place of the first pixel within its map word
    logic [LaneBits:0] live;  // lanes that belong to the map
    logic first;  // first tile of the command
    logic group_first;
    // Of the command: see shape_t.
    logic dense;
    logic sparse;
    logic average;
    logic second;
  } tile_t;

  // What the walkers ask of a command for every step, worked out once while it is checked.
  typedef struct packed {
    logic dense;
    logic sparse;
    logic average;
    logic row_mode;
    logic second;  // has a second map
    logic one_tap;  // a single column and row of the kernel
    logic one_word;  // a single word of the window
    logic one_channel;  // the first channel is the last one
    logic one_tile;
    logic one_line;
    logic one_group;
    logic [npu_pkg::RowBits-1:0] row_first;  // of the first group
    logic [npu_pkg::RowBits:0] rows_first;  // rows with a channel in the first group, in the last
    logic [npu_pkg::RowBits:0] rows_last;
    logic [10:0] groups;
    // To the next tile: columns, lines, and columns to the same place a line further on; that place
    // from the first tile's column.
    logic [12:0] step_x;
    logic [11:0] step_y;
    logic [13:0] back_x;
    logic [13:0] beyond;
    logic [LaneBits-1:0] offset;  // of the first tile
    logic [11:0] rest;  // row mode: pixels from the first tile to the end of the row
    logic [LaneBits:0] live;  // of the first tile
  } shape_t;

  // What the sequencer issues: a word to fetch for the next kernel row, a tap of the current one.
  typedef struct packed {
    logic valid;
    logic start;  // first step of a kernel row: windows move on
    logic fetch;
    logic fetch_side;  // which of the two commands in flight
    logic [1:0] word;  // number of the word within the row
    coordinate_t row;  // input pixel of lane 0 at tap column 0
    coordinate_t column;
    channel_t channel;
    logic tap;
    logic tap_side;
    logic fresh;  // first tap of a command
    logic first;  // first tap of a tile: accumulators start anew
    logic last;  // last tap of a tile
    logic halves;  // of a tile whose results fall into two map words
    logic group_last;  // of the last tile of a group
  } step_t;

  // A tap on its way through the data path.
  typedef struct packed {
    logic valid;
    logic side;
    logic fresh;
    logic first;
    logic last;
    logic halves;
    logic group_last;
  } tap_t;

  // One row of results, or two neighbours, on their way through the requantiser.
  typedef struct packed {
    logic [npu_pkg::DrainRows-1:0] valid;  // the first whenever there is any
    logic side;
    logic [10:0] channel;  // of the first row
    logic half;  // second of two words
    logic pop;  // last use of the second map's words
    logic last;  // last result of the command
  } slot_t;

  // Product of four bits each, as shifts and sums: not worth a DSP block.
  function automatic logic [7:0] small_product(input logic [3:0] a, input logic [3:0] b);
    logic [5:0] low, high;
    low  = (a[0] ? {2'b0, b} : '0) + (a[1] ? {1'b0, b, 1'b0} : '0);
    high = (a[2] ? {2'b0, b} : '0) + (a[3] ? {1'b0, b, 1'b0} : '0);
    return {2'b0, low} + {high, 2'b0};
  endfunction

  // Lanes of a tile that has `rest` pixels to the end of its row.
  function automatic logic [LaneBits:0] live_lanes(input logic [11:0] rest);
    return rest >= 12'(npu_pkg::Lanes) ? (LaneBits + 1)'(npu_pkg::Lanes) : rest[LaneBits:0];
  endfunction

  // Row mode: a tile's results fall into two map words.
  function automatic logic crosses(input tile_t tile);
    return (LaneBits + 2)'(tile.offset) + (LaneBits + 2)'(tile.live) > (LaneBits + 2)'(npu_pkg::Lanes);
  endfunction

  function automatic shape_t shape_of(input npu_pkg::exec_t cmd);
    shape_t shape;
    logic [npu_pkg::RowBits:0] room;
    logic [11:0] places;
    shape.dense = cmd.mode == npu_pkg::ModeDense;
    shape.sparse = cmd.flags[npu_pkg::ExecFlagSparse];
    shape.average = cmd.mode == npu_pkg::ModeAverage;
    shape.row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
    shape.second = cmd.residual[1:0] != npu_pkg::ResNone;
    shape.one_tap = cmd.k[3:0] == 4'd1;
    shape.one_word = cmd.window_words[2:0] == 3'd1;
    shape.one_channel = !shape.dense || cmd.in_channels[10:0] == 11'd1;
    shape.one_tile = cmd.tiles == 16'd1;
    shape.one_line = cmd.rows == 16'd1;
    shape.row_first = shape.dense ? '0 : cmd.in_origin[npu_pkg::RowBits-1:0];
    room = (npu_pkg::RowBits + 1)'(npu_pkg::Rows) - {1'b0, shape.row_first};
    shape.one_group = cmd.out_channels[10:0] <= 11'(room);
    shape.rows_first = shape.one_group ? cmd.out_channels[npu_pkg::RowBits:0] : room;
    // From the first group's first row to the last group's last.
    places = 12'(cmd.out_channels[10:0]) + (12'(shape.row_first) + 12'(npu_pkg::Rows - 1));
    shape.rows_last = {1'b0, places[npu_pkg::RowBits-1:0]} + (npu_pkg::RowBits + 1)'(1);
    shape.groups = 11'(places >> npu_pkg::RowBits);
    shape.step_x = shape.row_mode ? 13'(npu_pkg::Lanes) : cmd.lane_step_x[12:0];
    shape.step_y = shape.row_mode ? '0 : cmd.lane_step_y[11:0];
    shape.back_x = {1'b0, cmd.lane_step_x[12:0]} - {1'b0, cmd.in_w[12:0]};
    shape.beyond = {2'b0, cmd.x_first[11:0]} + shape.back_x;
    shape.offset = shape.row_mode ? LaneBits'(small_product(4'(cmd.y_first[LaneBits-1:0]),
        4'(cmd.out_w[LaneBits-1:0]))) + cmd.x_first[LaneBits-1:0] : '0;
    shape.rest = cmd.out_w[11:0] - cmd.x_first[11:0];
    shape.live = shape.row_mode ? live_lanes(shape.rest) : (LaneBits + 1)'(npu_pkg::Lanes);
    return shape;
  endfunction

endpackage
