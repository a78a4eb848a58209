// Which lanes read outside the input map, in three stages.
//
// Flat tiles run over the ends of rows: lane l stands l mod W columns and l / W rows after lane 0,
// and one more row on where that reaches the width. W < 16 only needs a narrow table for that.

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

  logic flat, narrow;
  assign flat  = !commands[select].flags[npu_pkg::ExecFlagRowMode];
  assign narrow = commands[select].in_w < 16'(Lanes);

  // Columns from lane 0 to the end of its row.
  logic signed [13:0] rest;
  assign rest = 14'($signed({1'b0, commands[select].in_w[11:0]})) - 14'(column)
      - 14'($signed(commands[select].pad_x));

  // First stage: column without and row with the row's end, and whether it is passed.
  logic [4:0] offset[Lanes];
  logic [3:0] down[Lanes];
  npu_core_pkg::coordinate_t column1_q[Lanes], row1_q[Lanes];
  logic [Lanes-1:0] wrap1_q;
  always_comb begin
    for (int unsigned l = 0; l < Lanes; l++) begin
      offset[l] = 5'(l);
      down[l]   = '0;
      if (!flat) begin
        if (commands[select].flags[npu_pkg::ExecFlagUpsample]) offset[l] = 5'(l / 2);
        else if (commands[select].stride[1]) offset[l] = 5'(2 * l);
      end else if (narrow) begin
        for (int unsigned w = 1; w < Lanes; w++) begin
          if (commands[select].in_w[3:0] == 4'(w)) begin
            offset[l] = 5'(l % w);
            down[l]   = 4'(l / w);
          end
        end
      end
    end
  end

  logic select1_q, select2_q;
  npu_core_pkg::coordinate_t column2_q[Lanes], row2_q[Lanes];

  always_ff @(posedge clk) begin
    select1_q <= select;
    select2_q <= select1_q;
    for (int unsigned l = 0; l < Lanes; l++) begin
      column1_q[l] <= tap_column + 13'(offset[l]);
      row1_q[l] <= row + 13'(down[l]);
      wrap1_q[l] <= flat && rest <= 14'(offset[l]);

      column2_q[l] <= wrap1_q[l] ? column1_q[l] - commands[select1_q].in_w[12:0] : column1_q[l];
      row2_q[l] <= row1_q[l] + 13'(wrap1_q[l]);

      // Unsigned: what is negative is beyond every map.
      outside[l] <= unsigned'(column2_q[l]) >= commands[select2_q].in_w[12:0]
          || unsigned'(row2_q[l]) >= commands[select2_q].in_h[12:0];
    end
  end

endmodule
