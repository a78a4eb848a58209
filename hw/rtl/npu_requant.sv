// The requantiser: one or two rows of results a cycle, with parameters, tables and the writer.
//
// Slots arrive a stage ahead of 0, their accumulators in stage 2; a write leaves in stage 22. Fields of a
// command are chosen the stage before they are used; numbers in names are the stage of use.

module npu_requant (
    input  logic                                               clk,
    input  logic                                               rst,
    input  npu_pkg::exec_t commands[2],
    input  npu_core_pkg::slot_t                                slot,
    input  npu_core_pkg::tile_t                                tile,
    input  logic signed         [31:0] row[npu_pkg::DrainRows][npu_pkg::Lanes],
    // Second map.
    input  logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] second,
    output logic                                               second_pop,
    // Write ports of LOAD.
    input  logic                                               lp_valid,
    input  logic                [npu_pkg::ParamAddrBits-1:0]   lp_addr,
    input  logic                [                       127:0] lp_data,
    input  logic                                               lt_valid,
    input  logic                                               lt_select,
    input  logic                [                         4:0] lt_addr,
    input  logic                [                        63:0] lt_data,
    // Bank write.
    output logic [npu_pkg::DrainRows-1:0] wr_valid,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank,
    output logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr,
    output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data,
    output logic [npu_pkg::Lanes-1:0] wr_be,
    output logic                                               done
);

  localparam int unsigned Lanes = npu_pkg::Lanes;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  npu_core_pkg::slot_t [22:0] slot_q;
  npu_core_pkg::tile_t tile0_q;
  always_ff @(posedge clk) begin
    slot_q  <= {slot_q[21:0], slot};
    tile0_q <= tile;
    if (rst) slot_q <= '0;
  end

  // Of the command, by stages.
  logic spread1_q, table11_q, select11_q, table13_q, add20_q;
  logic [5:2] multiply_q;
  logic [7:0] z_res2_q, z_out9_q, lo9_q, hi9_q, z_main13_q, z_add19_q, lo_add19_q, hi_add19_q;
  logic [17:0] m_res2_q, m_main14_q;
  // Shift of the sum, less one: beyond 31 every sum rounds to zero, as it does with 31. The mask has
  // the bits that stay above the ninth.
  logic [7:0] shift_add17_q;
  logic [4:0] shift_add18_q;
  logic [2:0] shift_add19_q;
  logic [17:0] mask_add18_q;
  always_ff @(posedge clk) begin
    spread1_q <= commands[slot_q[0].side].residual[3:2] == npu_pkg::SpreadChannel;
    z_res2_q <= commands[slot_q[1].side].z_res;
    multiply_q <= {multiply_q[4:2], commands[slot_q[1].side].residual[1:0] == npu_pkg::ResMultiply};
    m_res2_q <= commands[slot_q[1].side].m_res[17:0];
    z_out9_q <= commands[slot_q[8].side].z_out;
    lo9_q <= commands[slot_q[8].side].lo;
    hi9_q <= commands[slot_q[8].side].hi;
    table11_q <= commands[slot_q[10].side].flags[npu_pkg::ExecFlagTable];
    select11_q <= commands[slot_q[10].side].flags[npu_pkg::ExecFlagTableSelect];
    table13_q <= commands[slot_q[12].side].flags[npu_pkg::ExecFlagTable];
    z_main13_q <= commands[slot_q[12].side].z_main;
    m_main14_q <= commands[slot_q[13].side].m_main[17:0];
    shift_add17_q <= commands[slot_q[16].side].shift_add - 8'd1;
    shift_add18_q <= shift_add17_q > 8'd31 ? 5'd31 : shift_add17_q[4:0];
    for (int unsigned i = 0; i < 18; i++) mask_add18_q[i] <= shift_add17_q <= 8'(i);
    shift_add19_q <= shift_add18_q[2:0];
    z_add19_q <= commands[slot_q[18].side].z_add;
    lo_add19_q <= commands[slot_q[18].side].lo_add;
    hi_add19_q <= commands[slot_q[18].side].hi_add;
    add20_q <= commands[slot_q[19].side].residual[1:0] == npu_pkg::ResAdd;
  end

  assign second_pop = slot_q[1].valid[0] && slot_q[1].pop;

  // Parameters of a channel: bias, m_pos, m_neg, shift.
  localparam int unsigned ParamBits = 32 + 18 + 18 + 6;
  localparam int unsigned EntryBits = npu_pkg::ParamAddrBits + 1;
  localparam logic [EntryBits-1:0] Entries = EntryBits'(npu_pkg::ParamEntries);
  logic [DrainRows-1:0][Lanes-1:0][7:0] result;

  // Rows that drain together have parameters and tables of their own.
  for (genvar d = 0; d < DrainRows; d++) begin : gen_row
    logic [EntryBits-1:0] unwrapped;
    logic [npu_pkg::ParamAddrBits-1:0] entry;
    logic [ParamBits-1:0] parameters;
    assign unwrapped = commands[slot.side].param_base[EntryBits-1:0] + EntryBits'(slot.channel)
        + EntryBits'(d);
    assign entry = npu_pkg::ParamAddrBits'(unwrapped >= Entries ? unwrapped - Entries : unwrapped);
    npu_ram #(
        .Words(npu_pkg::ParamEntries),
        .Width(ParamBits)
    ) u_params (
        .clk,
        .we(lp_valid),
        .waddr(lp_addr),
        .wdata({lp_data[101:96], lp_data[81:64], lp_data[49:32], lp_data[31:0]}),
        .en(1'b1),
        .raddr(entry),
        .rdata(parameters)
    );

    logic [ParamBits-1:0] parameters1_q;
    logic [4:2][17:0] m_pos_q, m_neg_q;
    logic [8:2][5:0] shift_q;  // less one
    logic [5:0] shift_high7;
    logic [4:0] mask_high7;
    logic [6:0] mask_low8;
    always_ff @(posedge clk) begin
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

    // The second map's products wait for the requantised value.
    logic [Lanes-1:0][26:0] second_early, second_late;
    npu_delay #(
        .Width (27 * Lanes),
        .Cycles(11),
        .Block (1'b1)
    ) u_delay (
        .clk,
        .rst,
        .in (second_early),
        .out(second_late)
    );

    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      // What reaches all lanes has a register in each of them where it drives many gates.
      logic [31:0] bias2_q;
      logic [7:0] second2_q, z_out10_q, lo10_q, hi10_q, z_main14_q, z_add20_q, lo_add20_q, hi_add20_q;
      logic [17:0] m_pos5_q, m_neg5_q, m_main15_q;
      logic [5:0] shift_high8_q;
      logic [4:0] mask_high8_q;
      logic [2:0] shift_low9_q;
      logic [6:0] mask_low9_q;
      npu_replica #(
          .Width(32 + 18 + 18 + 6 + 5 + 3 + 7 + 24 + 8 + 18 + 24)
      ) u_parameters (
          .clk,
          .in ({
            parameters1_q[31:0], m_pos_q[4], m_neg_q[4], shift_high7, mask_high7, shift_q[8][2:0], mask_low8,
            z_out9_q, lo9_q, hi9_q, z_main13_q, m_main14_q, z_add19_q, lo_add19_q, hi_add19_q
          }),
          .out({
            bias2_q, m_pos5_q, m_neg5_q, shift_high8_q, mask_high8_q, shift_low9_q, mask_low9_q,
            z_out10_q, lo10_q, hi10_q, z_main14_q, m_main15_q, z_add20_q, lo_add20_q, hi_add20_q
          })
      );
      always_ff @(posedge clk) second2_q <= spread1_q ? second[d][7:0] : second[d][8*l+:8];

      logic signed [7:0] code, looked_up;
      npu_requant_lane u_lane (
          .clk,
          .acc(row[d][l]),
          .bias(bias2_q),
          .second(second2_q),
          .z_res(z_res2_q),
          .multiply(multiply_q[2]),
          .m_res(m_res2_q),
          .multiplied(multiply_q[5]),
          .m_pos(m_pos5_q),
          .m_neg(m_neg5_q),
          .second_early(second_early[l]),
          .shift_high(shift_high8_q),
          .mask_high(mask_high8_q),
          .shift_low(shift_low9_q),
          .mask_low(mask_low9_q),
          .z_out(z_out10_q),
          .lo(lo10_q),
          .hi(hi10_q),
          .code,
          .use_table(table13_q),
          .looked_up,
          .z_main(z_main14_q),
          .m_main(m_main15_q),
          .second_late(second_late[l]),
          .shift_add_high(shift_add18_q[4:3]),
          .mask_add(mask_add18_q),
          .shift_add_low(shift_add19_q),
          .z_add(z_add20_q),
          .lo_add(lo_add20_q),
          .hi_add(hi_add20_q),
          .add(add20_q),
          .result(result[d][l])
      );

      // Both tables, eight entries a word; entry q + 128. Half of a word is kept behind the memory.
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
          .clk,
          .we(lt_valid),
          .waddr({lt_select, lt_addr}),
          .wdata(lt_data),
          .en(slot_q[11].valid[d] && table11_q),
          .raddr({select11_q, index[7:3]}),
          .rdata(entries)
      );
      always_ff @(posedge clk) begin
        index12_q <= index[2:0];
        index13_q <= index12_q[1:0];
        half13_q  <= index12_q[2] ? entries[63:32] : entries[31:0];
      end
      assign looked_up = half13_q[8*index13_q+:8];
    end
  end

  npu_writer u_writer (
      .clk,
      .rst,
      .commands,
      .slot(slot_q[0]),
      .tile(tile0_q),
      .late(slot_q[21].valid),
      .result,
      .wr_valid,
      .wr_bank,
      .wr_addr,
      .wr_data,
      .wr_be
  );

  assign done = slot_q[22].valid[0] && slot_q[22].last;

endmodule
