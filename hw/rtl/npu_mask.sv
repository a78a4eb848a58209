// Lane mask: outside_o[l] says that lane l reads outside the input feature map, four stages after
// the step.
//
// In flat tiles lane l is l mod W columns and l / W rows after lane 0, and one row further where
// that passes the end of the row; a small table holds these for W < Lanes. All borders are
// converted to lane counts first, so each lane compares its position with few bits:
//    outside[l] = column + x(l) not in 0..W−1, or row + y(l) not in 0..H−1

module npu_mask (
  input  logic                                     clk_i,
  input  npu_pkg::exec_t                           commands_i[2],
  input  npu_core_pkg::step_t                      step_i,
  output logic                [npu_pkg::Lanes-1:0] outside_o
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned LaneBits = npu_pkg::LaneBits;

  typedef logic signed [14:0] distance_t;

  // Stage 0: input pixel of lane 0 with and without the tap's column offset. A fetched row waits
  // one row slot for its taps.
  npu_core_pkg::coordinate_t held_row_q, held_column_q, row_q, column_q, tap_column_q;
  logic flat, flat0_q, twice0_q, half0_q;
  logic [LaneBits-1:0] narrow0_q;  // width; 0: not narrow
  logic signed [7:0] pad0_q;
  distance_t width0_q, height0_q, at_column, at_row;
  assign flat = !commands_i[step_i.tap_ctx].flags[npu_pkg::ExecFlagRowMode];
  assign at_column = 15'(tap_column_q);
  assign at_row = 15'(row_q);
  always_ff @(posedge clk_i) begin
    if (step_i.valid && step_i.fetch && step_i.word == '0) begin
      held_row_q <= step_i.row;
      held_column_q <= step_i.column;
    end
    if (step_i.valid && step_i.start) begin
      row_q <= held_row_q;
      column_q <= held_column_q;
      tap_column_q <= held_column_q;
    end else if (step_i.valid) begin
      tap_column_q <= tap_column_q + 13'(commands_i[step_i.tap_ctx].dilation[3:0]);
    end
    flat0_q <= flat;
    twice0_q <= !flat && commands_i[step_i.tap_ctx].stride[1];
    half0_q <= !flat && commands_i[step_i.tap_ctx].flags[npu_pkg::ExecFlagUpsample];
    width0_q <= 15'({1'b0, commands_i[step_i.tap_ctx].in_w[11:0]});
    height0_q <= 15'({1'b0, commands_i[step_i.tap_ctx].in_h[11:0]});
    pad0_q <= commands_i[step_i.tap_ctx].pad_x;
    narrow0_q <= flat && commands_i[step_i.tap_ctx].in_w < 16'(Lanes) ?
        commands_i[step_i.tap_ctx].in_w[LaneBits-1:0] : '0;
  end

  // Stage 1: columns to the map's left border, right border and, one row further, right border
  // again; columns to the end of the row without the tap offset; rows to the top and bottom border,
  // and the same one row further down.
  distance_t begin1_q, end1_q, far1_q, wrap1_q;
  distance_t top1_q, bottom1_q, top_next1_q, bottom_next1_q;
  logic flat1_q, twice1_q, half1_q;
  logic [LaneBits-1:0] narrow1_q;
  always_ff @(posedge clk_i) begin
    begin1_q <= -at_column;
    end1_q <= width0_q - at_column;
    far1_q <= {width0_q[13:0], 1'b0} - at_column;
    wrap1_q <= width0_q - 15'(column_q) - 15'(pad0_q);
    top1_q <= -at_row;
    top_next1_q <= ~at_row;
    bottom1_q <= height0_q - at_row;
    bottom_next1_q <= height0_q + ~at_row;
    flat1_q <= flat0_q;
    twice1_q <= twice0_q;
    half1_q <= half0_q;
    narrow1_q <= narrow0_q;
  end

  // Returns a distance in pixels as a number of lanes, clamped to 0..Lanes: half as many with
  // stride 2, twice as many with upsampling.
  function automatic logic [LaneBits:0] lanes(input distance_t distance, input logic twice,
                                              input logic half);
    distance_t scaled;
    scaled = twice ? (distance + 15'sd1) >>> 1 : half ? distance <<< 1 : distance;
    return scaled < 0 ? '0 :
        scaled > distance_t'(Lanes) ? (LaneBits + 1)'(Lanes) : scaled[LaneBits:0];
  endfunction

  function automatic logic reaches(input logic [LaneBits-1:0] place,
                                   input logic [LaneBits:0] border);
    return !border[LaneBits] && place >= border[LaneBits-1:0];
  endfunction

  // Stage 2: lane counts, and the position of each lane.
  logic [LaneBits:0]
      first2_q, past2_q, far2_q, wrap2_q, top2_q, bottom2_q, top_next2_q, bottom_next2_q;
  logic flat2_q;
  logic [LaneBits-1:0] across2_q[Lanes], down2_q[Lanes];
  always_ff @(posedge clk_i) begin
    first2_q <= lanes(begin1_q, twice1_q, half1_q);
    past2_q <= lanes(end1_q, twice1_q, half1_q);
    far2_q <= lanes(far1_q, 1'b0, 1'b0);
    wrap2_q <= lanes(wrap1_q, 1'b0, 1'b0);
    top2_q <= lanes(top1_q, 1'b0, 1'b0);
    bottom2_q <= lanes(bottom1_q, 1'b0, 1'b0);
    top_next2_q <= lanes(top_next1_q, 1'b0, 1'b0);
    bottom_next2_q <= lanes(bottom_next1_q, 1'b0, 1'b0);
    flat2_q <= flat1_q;
    for (int unsigned l = 0; l < Lanes; l++) begin
      across2_q[l] <= LaneBits'(l);
      down2_q[l] <= '0;
      for (int unsigned w = 1; w < Lanes; w++) begin
        if (narrow1_q == LaneBits'(w)) begin
          across2_q[l] <= LaneBits'(l % w);
          down2_q[l] <= LaneBits'(l / w);
        end
      end
    end
  end

  // Stage 3: comparisons; their combination is the output.
  logic [Lanes-1:0] first3_q, past3_q, far3_q, wrap3_q, rows3_q, rows_next3_q;
  always_ff @(posedge clk_i) begin
    for (int unsigned l = 0; l < Lanes; l++) begin
      first3_q[l] <= reaches(across2_q[l], first2_q);
      past3_q[l] <= reaches(across2_q[l], past2_q);
      far3_q[l] <= reaches(across2_q[l], far2_q);
      wrap3_q[l] <= flat2_q && reaches(across2_q[l], wrap2_q);
      rows3_q[l] <= reaches(down2_q[l], top2_q) && !reaches(down2_q[l], bottom2_q);
      rows_next3_q[l] <= reaches(down2_q[l], top_next2_q) && !reaches(down2_q[l], bottom_next2_q);
    end
  end
  always_comb begin
    for (int unsigned l = 0; l < Lanes; l++) begin
      outside_o[l] = wrap3_q[l] ? !(past3_q[l] && !far3_q[l] && rows_next3_q[l]) :
          !(first3_q[l] && !past3_q[l] && rows3_q[l]);
    end
  end

endmodule
