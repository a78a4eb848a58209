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
  // use pass some 24 cycles.
  localparam int unsigned SecondDepth = npu_pkg::Rows / npu_pkg::DrainRows > 8 ? 64 : 32;
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
    logic first;  // first tile of the command
    logic group_first;
  } tile_t;

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

  // Row mode: lanes of a tile that belong to the map.
  function automatic logic [LaneBits:0] live_lanes(input logic [15:0] out_w, input logic [11:0] x);
    logic [15:0] rest;
    rest = out_w - 16'(x);
    return rest >= 16'(npu_pkg::Lanes) ? (LaneBits + 1)'(npu_pkg::Lanes) : rest[LaneBits:0];
  endfunction

  // Product of four bits each, as shifts and sums: not worth a DSP block.
  function automatic logic [7:0] small_product(input logic [3:0] a, input logic [3:0] b);
    logic [5:0] low, high;
    low  = (a[0] ? {2'b0, b} : '0) + (a[1] ? {1'b0, b, 1'b0} : '0);
    high = (a[2] ? {2'b0, b} : '0) + (a[3] ? {1'b0, b, 1'b0} : '0);
    return {2'b0, low} + {high, 2'b0};
  endfunction

  // Row mode: place of a tile's first pixel within its map word, from the low bits of each.
  function automatic logic [LaneBits-1:0] word_offset(input logic [LaneBits-1:0] out_w,
                                                      input logic [LaneBits-1:0] y,
                                                      input logic [LaneBits-1:0] x);
    return LaneBits'(small_product(4'(y), 4'(out_w))) + x;
  endfunction

  // Row mode: a tile's results fall into two map words.
  function automatic logic crosses(input logic [15:0] out_w, input logic [LaneBits-1:0] y,
                                   input logic [11:0] x);
    logic [LaneBits-1:0] offset;
    offset = word_offset(out_w[LaneBits-1:0], y, x[LaneBits-1:0]);
    return (LaneBits + 2)'(offset) + (LaneBits + 2)'(live_lanes(out_w, x))
        > (LaneBits + 2)'(npu_pkg::Lanes);
  endfunction

endpackage
