// Fields of a command that the core could not run as written. The compiler and the emulator check
// more (products of sizes, rings); what passes here never hangs and stays within the banks. Told a cycle late.

module npu_exec_legal (
    input  logic           clk,
    input  npu_pkg::exec_t cmd,
    output logic           legal
);

  localparam int unsigned Lanes = npu_pkg::Lanes;

  function automatic logic size(input logic [15:0] value);
    return value != '0 && value <= 16'd2047;
  endfunction

  function automatic logic place(input logic [15:0] base, input logic [15:0] plane,
                                 input logic [15:0] pos_first);
    return base < 16'(npu_pkg::BankWords) && plane <= 16'(npu_pkg::BankWords) && pos_first < plane;
  endfunction

  logic row_mode, upsample, average, single, second;
  logic [7:0] reach;
  logic modes, kernel, combination, sizes, tiles, places;

  assign row_mode = cmd.flags[npu_pkg::ExecFlagRowMode];
  assign upsample = cmd.flags[npu_pkg::ExecFlagUpsample];
  assign average = cmd.mode == npu_pkg::ModeAverage;
  assign single = average || cmd.mode == npu_pkg::ModePass;
  assign second = cmd.residual[1:0] != npu_pkg::ResNone;
  assign reach = npu_core_pkg::small_product(cmd.k[3:0] - 4'd1, cmd.dilation[3:0])
      + 8'(cmd.stride[1:0] == 2'd1 ? 2 * (Lanes - 1) : 3 * (Lanes - 1));

  always_comb begin
    modes = cmd.flags < 8'd32 && cmd.mode <= npu_pkg::ModePass && cmd.residual < 8'd16
        && cmd.residual[1:0] != 2'd3 && cmd.residual[3:2] != 2'd3;
    kernel = cmd.k != '0 && cmd.k < 8'd16 && cmd.dilation != '0 && cmd.dilation < 8'd16
        && (cmd.stride == 8'd1 || cmd.stride == 8'd2)
        && cmd.window_words != '0 && cmd.window_words <= 8'd4 && reach < 8'(4 * Lanes);
    combination = (row_mode || (cmd.stride == 8'd1 && !upsample))
        && (!upsample || (cmd.stride == 8'd1 && cmd.k == 8'd1))
        && (!cmd.flags[npu_pkg::ExecFlagSparse] || cmd.mode == npu_pkg::ModeDense)
        && (!single || cmd.k == 8'd1) && (!average || (!row_mode && !second))
        && (cmd.residual[1:0] != npu_pkg::ResMultiply || cmd.mode == npu_pkg::ModePass)
        && (!second || !row_mode || cmd.residual[3:2] == npu_pkg::SpreadChannel);
    sizes = size(cmd.in_h) && size(cmd.in_w) && size(cmd.out_channels)
        && (cmd.mode != npu_pkg::ModeDense || size(cmd.in_channels));
    tiles = cmd.tiles != '0 && cmd.rows != '0 && cmd.y_first <= 16'd2047 && cmd.rows <= 16'd2047
        && (row_mode ? size(cmd.out_w) && cmd.x_first < cmd.out_w && cmd.tiles <= 16'(2048 / Lanes)
            : cmd.rows == 16'd1 && cmd.x_first < cmd.in_w);
    places = place(cmd.in_base, cmd.in_plane, cmd.in_pos_first)
        && place(cmd.out_base, cmd.out_plane, cmd.out_pos_first)
        && (!second || place(cmd.res_base, cmd.res_plane, cmd.res_pos_first))
        && cmd.weight_base < 16'(npu_pkg::WeightWords)
        && cmd.param_base < 16'(npu_pkg::ParamEntries);
  end

  logic [5:0] checks_q;
  always_ff @(posedge clk) checks_q <= {modes, kernel, combination, sizes, tiles, places};
  assign legal = &checks_q;

endmodule
