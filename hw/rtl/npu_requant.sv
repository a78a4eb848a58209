// Requantiser: one or two rows of results per slot, with parameters, tables and write-back.
//
// npu_requant_lane has the formula. Slots arrive one stage before stage 0 and their accumulators in
// stage 2; the results are written in stage 22. Fields of a command are selected one stage before
// their use; numbers in names are the stage of use.

module npu_requant (
  input logic clk_i,
  input logic rst_ni,
  input npu_pkg::exec_t commands_i[2],
  input npu_core_pkg::slot_t slot_i,
  input npu_core_pkg::tile_t tile_i,
  input logic signed [31:0] row_i[npu_pkg::DrainRows][npu_pkg::Lanes],
  // Element-wise operand.
  input logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] eltwise_i,
  output logic eltwise_pop_o,
  // Write ports of LOAD.
  input logic lp_valid_i,
  input logic [npu_pkg::ParamAddrBits-1:0] lp_addr_i,
  input logic [127:0] lp_data_i,
  input logic lt_valid_i,
  input logic lt_select_i,
  input logic [4:0] lt_addr_i,
  input logic [63:0] lt_data_i,
  // Bank write.
  output logic [npu_pkg::DrainRows-1:0] wr_valid_o,
  output logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank_o,
  output logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr_o,
  output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data_o,
  output logic [npu_pkg::Lanes-1:0] wr_be_o,
  output logic done_o
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  npu_core_pkg::slot_t [22:0] slot_q;
  npu_core_pkg::tile_t tile0_q;
  always_ff @(posedge clk_i) begin
    slot_q <= {slot_q[21:0], slot_i};
    tile0_q <= tile_i;
    if (!rst_ni) slot_q <= '0;
  end

  // Fields of the command, by stage.
  logic spread1_q, table11_q, select11_q, table13_q, add20_q;
  logic [5:2] multiply_q;
  logic [7:0] z_res2_q, z_out9_q, lo9_q, hi9_q, z_main13_q, z_add19_q, lo_add19_q, hi_add19_q;
  logic [17:0] m_res2_q, m_main14_q;
  // Shift of the sum minus one. Beyond 31 every sum rounds to zero, as it does with 31. The mask
  // selects the bits above the ninth after the shift.
  logic [7:0] shift_add17_q;
  logic [4:0] shift_add18_q;
  logic [2:0] shift_add19_q;
  logic [17:0] mask_add18_q;
  always_ff @(posedge clk_i) begin
    spread1_q <= commands_i[slot_q[0].ctx].residual[3:2] == npu_pkg::SpreadChannel;
    z_res2_q <= commands_i[slot_q[1].ctx].z_res;
    multiply_q <= {
      multiply_q[4:2], commands_i[slot_q[1].ctx].residual[1:0] == npu_pkg::ResMultiply
    };
    m_res2_q <= commands_i[slot_q[1].ctx].m_res[17:0];
    z_out9_q <= commands_i[slot_q[8].ctx].z_out;
    lo9_q <= commands_i[slot_q[8].ctx].lo;
    hi9_q <= commands_i[slot_q[8].ctx].hi;
    table11_q <= commands_i[slot_q[10].ctx].flags[npu_pkg::ExecFlagTable];
    select11_q <= commands_i[slot_q[10].ctx].flags[npu_pkg::ExecFlagTableSelect];
    table13_q <= commands_i[slot_q[12].ctx].flags[npu_pkg::ExecFlagTable];
    z_main13_q <= commands_i[slot_q[12].ctx].z_main;
    m_main14_q <= commands_i[slot_q[13].ctx].m_main[17:0];
    shift_add17_q <= commands_i[slot_q[16].ctx].shift_add - 8'd1;
    shift_add18_q <= shift_add17_q > 8'd31 ? 5'd31 : shift_add17_q[4:0];
    for (int unsigned i = 0; i < 18; i++) mask_add18_q[i] <= shift_add17_q <= 8'(i);
    shift_add19_q <= shift_add18_q[2:0];
    z_add19_q <= commands_i[slot_q[18].ctx].z_add;
    lo_add19_q <= commands_i[slot_q[18].ctx].lo_add;
    hi_add19_q <= commands_i[slot_q[18].ctx].hi_add;
    add20_q <= commands_i[slot_q[19].ctx].residual[1:0] == npu_pkg::ResAdd;
  end

  assign eltwise_pop_o = slot_q[1].valid[0] && slot_q[1].pop;

  // Parameters of a channel: bias, m_pos, m_neg, shift.
  localparam int unsigned ParamBits = 32 + 18 + 18 + 6;
  localparam int unsigned EntryBits = npu_pkg::ParamAddrBits + 1;
  localparam logic [EntryBits-1:0] Entries = EntryBits'(npu_pkg::ParamEntries);
  logic [DrainRows-1:0][Lanes-1:0][7:0] result;

  // Rows that drain together have their own parameters and tables.
  for (genvar d = 0; d < DrainRows; d++) begin : gen_row
    logic [EntryBits-1:0] unwrapped;
    logic [npu_pkg::ParamAddrBits-1:0] entry;
    logic [ParamBits-1:0] parameters;
    assign unwrapped = commands_i[slot_i.ctx].param_base[EntryBits-1:0] +
        EntryBits'(slot_i.channel) + EntryBits'(d);
    assign entry = npu_pkg::ParamAddrBits'(unwrapped >= Entries ? unwrapped - Entries : unwrapped);
    npu_ram #(
      .Words(npu_pkg::ParamEntries),
      .Width(ParamBits)
    ) u_params (
      .clk_i,
      .we_i   (lp_valid_i),
      .waddr_i(lp_addr_i),
      .wdata_i({lp_data_i[101:96], lp_data_i[81:64], lp_data_i[49:32], lp_data_i[31:0]}),
      .re_i   (1'b1),
      .raddr_i(entry),
      .rdata_o(parameters)
    );

    logic [ParamBits-1:0] parameters1_q;
    logic [4:2][17:0] m_pos_q, m_neg_q;
    logic [8:2][5:0] shift_q;  // minus one
    logic [5:0] shift_high7;
    logic [4:0] mask_high7;
    logic [6:0] mask_low8;
    always_ff @(posedge clk_i) begin
      parameters1_q <= parameters;
      m_pos_q <= {m_pos_q[3:2], parameters1_q[49:32]};
      m_neg_q <= {m_neg_q[3:2], parameters1_q[67:50]};
      shift_q <= {shift_q[7:2], parameters1_q[73:68] - 6'd1};
    end
    always_comb begin
      for (int unsigned i = 0; i < 6; i++) shift_high7[i] = shift_q[7][5:3] == 3'(i);
      for (int unsigned i = 0; i < 5; i++) mask_high7[i] = shift_q[7][5:3] <= 3'(i);
      for (int unsigned i = 0; i < 7; i++) mask_low8[i] = shift_q[8][2:0] <= 3'(i);
    end

    // The products of the element-wise operand wait for the requantised value.
    logic [Lanes-1:0][26:0] eltwise_early, eltwise_late;
    npu_delay #(
      .Width (27 * Lanes),
      .Cycles(11),
      .Block (1'b1)
    ) u_delay (
      .clk_i,
      .rst_ni,
      .data_i(eltwise_early),
      .data_o(eltwise_late)
    );

    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      // Values that all lanes share are registered in each lane where they drive many gates.
      logic [31:0] bias2_q;
      logic [7:0]
          eltwise2_q, z_out10_q, lo10_q, hi10_q, z_main14_q, z_add20_q, lo_add20_q, hi_add20_q;
      logic [17:0] m_pos5_q, m_neg5_q, m_main15_q;
      logic [5:0] shift_high8_q;
      logic [4:0] mask_high8_q;
      logic [2:0] shift_low9_q;
      logic [6:0] mask_low9_q;
      npu_replica #(
        .Width(32 + 18 + 18 + 6 + 5 + 3 + 7 + 24 + 8 + 18 + 24)
      ) u_parameters (
        .clk_i,
        .d_i({
          parameters1_q[31:0],
          m_pos_q[4],
          m_neg_q[4],
          shift_high7,
          mask_high7,
          shift_q[8][2:0],
          mask_low8,
          z_out9_q,
          lo9_q,
          hi9_q,
          z_main13_q,
          m_main14_q,
          z_add19_q,
          lo_add19_q,
          hi_add19_q
        }),
        .q_o({
          bias2_q,
          m_pos5_q,
          m_neg5_q,
          shift_high8_q,
          mask_high8_q,
          shift_low9_q,
          mask_low9_q,
          z_out10_q,
          lo10_q,
          hi10_q,
          z_main14_q,
          m_main15_q,
          z_add20_q,
          lo_add20_q,
          hi_add20_q
        })
      );
      always_ff @(posedge clk_i) eltwise2_q <= spread1_q ? eltwise_i[d][7:0] : eltwise_i[d][8*l+:8];

      logic signed [7:0] code, looked_up;
      npu_requant_lane u_lane (
        .clk_i,
        .acc_i           (row_i[d][l]),
        .bias_i          (bias2_q),
        .eltwise_i       (eltwise2_q),
        .z_res_i         (z_res2_q),
        .multiply_i      (multiply_q[2]),
        .m_res_i         (m_res2_q),
        .multiplied_i    (multiply_q[5]),
        .m_pos_i         (m_pos5_q),
        .m_neg_i         (m_neg5_q),
        .eltwise_early_o (eltwise_early[l]),
        .shift_high_i    (shift_high8_q),
        .mask_high_i     (mask_high8_q),
        .shift_low_i     (shift_low9_q),
        .mask_low_i      (mask_low9_q),
        .z_out_i         (z_out10_q),
        .lo_i            (lo10_q),
        .hi_i            (hi10_q),
        .code_o          (code),
        .use_table_i     (table13_q),
        .looked_up_i     (looked_up),
        .z_main_i        (z_main14_q),
        .m_main_i        (m_main15_q),
        .eltwise_late_i  (eltwise_late[l]),
        .shift_add_high_i(shift_add18_q[4:3]),
        .mask_add_i      (mask_add18_q),
        .shift_add_low_i (shift_add19_q),
        .z_add_i         (z_add20_q),
        .lo_add_i        (lo_add20_q),
        .hi_add_i        (hi_add20_q),
        .add_i           (add20_q),
        .result_o        (result[d][l])
      );

      // Both tables hold eight entries per word; value q is entry q + 128. Half a word is
      // registered behind the memory.
      logic [7:0] index;
      logic [2:0] index12_q;
      logic [1:0] index13_q;
      logic [63:0] entries;
      logic [31:0] half13_q;
      assign index = {~code[7], code[6:0]};
      npu_ram #(
        .Words(64),
        .Width(64)
      ) u_tables (
        .clk_i,
        .we_i   (lt_valid_i),
        .waddr_i({lt_select_i, lt_addr_i}),
        .wdata_i(lt_data_i),
        .re_i   (slot_q[11].valid[d] && table11_q),
        .raddr_i({select11_q, index[7:3]}),
        .rdata_o(entries)
      );
      always_ff @(posedge clk_i) begin
        index12_q <= index[2:0];
        index13_q <= index12_q[1:0];
        half13_q <= index12_q[2] ? entries[63:32] : entries[31:0];
      end
      assign looked_up = half13_q[8*index13_q+:8];
    end
  end

  npu_writeback u_writeback (
    .clk_i,
    .rst_ni,
    .commands_i,
    .slot_i        (slot_q[0]),
    .tile_i        (tile0_q),
    .result_valid_i(slot_q[21].valid),
    .result_i      (result),
    .wr_valid_o,
    .wr_bank_o,
    .wr_addr_o,
    .wr_data_o,
    .wr_be_o
  );

  assign done_o = slot_q[22].valid[0] && slot_q[22].last;

endmodule
