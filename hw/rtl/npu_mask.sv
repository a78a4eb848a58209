// Which lanes read outside the input map, in two stages and the logic of a third.
//
// Flat tiles run over the ends of rows: lane l stands l mod W columns and l / W rows after lane 0,
// and one more row on where that reaches the width; a narrow table tells that where W < Lanes. All
// borders are put as numbers of lanes first, so that each lane compares its place with few bits.

module npu_mask (
    input  logic                                               clk,
    input  npu_pkg::exec_t commands[2],
    input  logic                                               select,
    // Input pixel of lane 0: without the tap's column, and with it.
    input  npu_core_pkg::coordinate_t                          row,
    input  npu_core_pkg::coordinate_t                          column,
    input  npu_core_pkg::coordinate_t                          tap_column,
    output logic                      [npu_pkg::Lanes-1:0] outside
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  typedef logic signed [14:0] distance_t;

  logic flat;
  (* keep *) logic [LaneBits-1:0] narrow_width;  // 0: not narrow
  distance_t width, height, at_column, at_row;
  assign flat = !commands[select].flags[npu_pkg::ExecFlagRowMode];
  assign narrow_width = flat && commands[select].in_w < 16'(Lanes) ? commands[select].in_w[LaneBits-1:0]
      : '0;
  assign width = 15'({1'b0, commands[select].in_w[11:0]});
  assign height = 15'({1'b0, commands[select].in_h[11:0]});
  assign at_column = 15'(tap_column);
  assign at_row = 15'(row);

  // First stage: columns to the map's begin, end and, a row further, end again; to the row's end
  // without the tap; rows to the map's begin and end, and the same one row further on.
  distance_t begin1_q, end1_q, far1_q, wrap1_q;
  distance_t top1_q, bottom1_q, top_next1_q, bottom_next1_q;
  logic flat1_q, twice1_q, half1_q;
  logic [LaneBits-1:0] across1_q[Lanes], down1_q[Lanes];

  always_ff @(posedge clk) begin
    begin1_q <= -at_column;
    end1_q <= width - at_column;
    far1_q <= {width[13:0], 1'b0} - at_column;
    wrap1_q <= width - 15'(column) - 15'($signed(commands[select].pad_x));
    top1_q <= -at_row;
    top_next1_q <= ~at_row;
    bottom1_q <= height - at_row;
    bottom_next1_q <= height + ~at_row;
    flat1_q <= flat;
    twice1_q <= !flat && commands[select].stride[1];
    half1_q <= !flat && commands[select].flags[npu_pkg::ExecFlagUpsample];
    for (int unsigned l = 0; l < Lanes; l++) begin
      across1_q[l] <= LaneBits'(l);
      down1_q[l]   <= '0;
      for (int unsigned w = 1; w < Lanes; w++) begin
        if (narrow_width == LaneBits'(w)) begin
          across1_q[l] <= LaneBits'(l % w);
          down1_q[l]   <= LaneBits'(l / w);
        end
      end
    end
  end

  // A distance as a number of lanes from 0 to all: half as many with stride 2, twice as many with
  // upsampling.
  function automatic logic [LaneBits:0] lanes(input distance_t distance, input logic twice,
                                              input logic half);
    distance_t scaled;
    scaled = twice ? (distance + 15'sd1) >>> 1 : half ? distance <<< 1 : distance;
    return scaled < 0 ? '0 : scaled > distance_t'(Lanes) ? (LaneBits + 1)'(Lanes) : scaled[LaneBits:0];
  endfunction

  function automatic logic reaches(input logic [LaneBits-1:0] place, input logic [LaneBits:0] border);
    return !border[LaneBits] && place >= border[LaneBits-1:0];
  endfunction

  logic [LaneBits:0] first, past, far, wrap, top, bottom, top_next, bottom_next;
  assign first = lanes(begin1_q, twice1_q, half1_q);
  assign past = lanes(end1_q, twice1_q, half1_q);
  assign far = lanes(far1_q, 1'b0, 1'b0);
  assign wrap = lanes(wrap1_q, 1'b0, 1'b0);
  assign top = lanes(top1_q, 1'b0, 1'b0);
  assign bottom = lanes(bottom1_q, 1'b0, 1'b0);
  assign top_next = lanes(top_next1_q, 1'b0, 1'b0);
  assign bottom_next = lanes(bottom_next1_q, 1'b0, 1'b0);

  logic [Lanes-1:0] first2_q, past2_q, far2_q, wrap2_q, rows2_q, rows_next2_q;
  always_ff @(posedge clk) begin
    for (int unsigned l = 0; l < Lanes; l++) begin
      first2_q[l] <= reaches(across1_q[l], first);
      past2_q[l] <= reaches(across1_q[l], past);
      far2_q[l] <= reaches(across1_q[l], far);
      wrap2_q[l] <= flat1_q && reaches(across1_q[l], wrap);
      rows2_q[l] <= reaches(down1_q[l], top) && !reaches(down1_q[l], bottom);
      rows_next2_q[l] <= reaches(down1_q[l], top_next) && !reaches(down1_q[l], bottom_next);
    end
  end

  always_comb begin
    for (int unsigned l = 0; l < Lanes; l++) begin
      outside[l] = wrap2_q[l] ? !(past2_q[l] && !far2_q[l] && rows_next2_q[l])
          : !(first2_q[l] && !past2_q[l] && rows2_q[l]);
    end
  end

endmodule
