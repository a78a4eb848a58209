// Checks the fields of an EXEC command: legal_o, one cycle later, says that the core can run it.
//
// The compiler and the emulator check more (products of sizes, rings). What passes here never hangs
// and stays within the banks.

module npu_exec_legal (
  input  logic           clk_i,
  input  npu_pkg::exec_t cmd_i,
  output logic           legal_o
);

  localparam int unsigned Lanes = npu_pkg::Lanes;

  function automatic logic size_ok(input logic [15:0] value);
    return value != '0 && value <= 16'd2047;
  endfunction

  function automatic logic layout_ok(input logic [15:0] base, input logic [15:0] plane,
                                     input logic [15:0] pos_first);
    return base < 16'(npu_pkg::BankWords) && plane <= 16'(npu_pkg::BankWords) && pos_first < plane;
  endfunction

  logic row_mode, upsample, average, single, eltwise;
  logic [7:0] dilated, reach;
  logic modes, kernel, combination, sizes, row_tiles, flat_tiles, tiles, layouts;

  assign row_mode = cmd_i.flags[npu_pkg::ExecFlagRowMode];
  assign upsample = cmd_i.flags[npu_pkg::ExecFlagUpsample];
  assign average = cmd_i.mode == npu_pkg::ModeAverage;
  assign single = average || cmd_i.mode == npu_pkg::ModePass;
  assign eltwise = cmd_i.residual[1:0] != npu_pkg::ResNone;
  assign dilated = npu_core_pkg::small_product(cmd_i.k[3:0] - 4'd1, cmd_i.dilation[3:0]);
  assign reach = dilated + 8'(cmd_i.stride[1:0] == 2'd1 ? 2 * (Lanes - 1) : 3 * (Lanes - 1));

  always_comb begin
    modes = cmd_i.flags < 8'd32 && cmd_i.mode <= npu_pkg::ModePass && cmd_i.residual < 8'd16 &&
        cmd_i.residual[1:0] != 2'd3 && cmd_i.residual[3:2] != 2'd3;
    kernel = cmd_i.k != '0 && cmd_i.k < 8'd16 && cmd_i.dilation != '0 && cmd_i.dilation < 8'd16 &&
        (cmd_i.stride == 8'd1 || cmd_i.stride == 8'd2) && cmd_i.window_words != '0 &&
        cmd_i.window_words <= 8'd4 && reach < 8'(4 * Lanes);
    combination = (row_mode || (cmd_i.stride == 8'd1 && !upsample)) &&
        (!upsample || (cmd_i.stride == 8'd1 && cmd_i.k == 8'd1)) &&
        (!cmd_i.flags[npu_pkg::ExecFlagSparse] || cmd_i.mode == npu_pkg::ModeDense) &&
        (!single || cmd_i.k == 8'd1) && (!average || (!row_mode && !eltwise)) &&
        (cmd_i.residual[1:0] != npu_pkg::ResMultiply || cmd_i.mode == npu_pkg::ModePass) &&
        (!eltwise || !row_mode || cmd_i.residual[3:2] == npu_pkg::SpreadChannel);
    sizes = size_ok(cmd_i.in_h) && size_ok(cmd_i.in_w) && size_ok(cmd_i.out_channels) &&
        (cmd_i.mode != npu_pkg::ModeDense || size_ok(cmd_i.in_channels));
    row_tiles = size_ok(cmd_i.out_w) && cmd_i.x_first < cmd_i.out_w &&
        cmd_i.tiles <= 16'(2048 / Lanes);
    flat_tiles = cmd_i.rows == 16'd1 && cmd_i.x_first < cmd_i.in_w;
    tiles = cmd_i.tiles != '0 && cmd_i.rows != '0 && cmd_i.y_first <= 16'd2047 &&
        cmd_i.rows <= 16'd2047 && (row_mode ? row_tiles : flat_tiles);
    layouts = layout_ok(cmd_i.in_base, cmd_i.in_plane, cmd_i.in_pos_first) &&
        layout_ok(cmd_i.out_base, cmd_i.out_plane, cmd_i.out_pos_first) &&
        (!eltwise || layout_ok(cmd_i.res_base, cmd_i.res_plane, cmd_i.res_pos_first)) &&
        cmd_i.weight_base < 16'(npu_pkg::WeightWords) &&
        cmd_i.param_base < 16'(npu_pkg::ParamEntries);
  end

  logic [5:0] checks_q;
  always_ff @(posedge clk_i) checks_q <= {modes, kernel, combination, sizes, tiles, layouts};
  assign legal_o = &checks_q;

endmodule
