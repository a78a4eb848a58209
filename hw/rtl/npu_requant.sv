// The requantiser: one or two rows of results a cycle, with parameters, tables and the writer.
//
// Slots arrive in stage 0, their accumulators in stage 1; a write leaves in stage 17.

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

  npu_core_pkg::slot_t [17:1] slot_q;
  always_ff @(posedge clk) begin
    slot_q <= {slot_q[16:1], slot};
    if (rst) slot_q <= '0;
  end

  // Shift of the sum, less one: beyond 31 every sum rounds to zero, as it does with 31. The mask has
  // the bits that stay above the ninth.
  logic [7:0] shift_add;
  logic [4:0] shift_add_q;
  logic [17:0] mask_add_q;
  assign shift_add = commands[slot_q[13].side].shift_add - 8'd1;
  always_ff @(posedge clk) begin
    shift_add_q <= shift_add > 8'd31 ? 5'd31 : shift_add[4:0];
    for (int unsigned i = 0; i < 18; i++) mask_add_q[i] <= shift_add <= 8'(i);
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
        .en(slot.valid[d]),
        .raddr(entry),
        .rdata(parameters)
    );

    logic [3:2][17:0] m_pos_q, m_neg_q;
    logic [7:2][5:0] shift_q;  // less one
    logic [5:0] shift_high_q;
    logic [4:0] mask_high_q;
    logic [6:0] mask_low_q;
    always_ff @(posedge clk) begin
      m_pos_q <= {m_pos_q[2], parameters[49:32]};
      m_neg_q <= {m_neg_q[2], parameters[67:50]};
      shift_q <= {shift_q[6:2], parameters[73:68] - 6'd1};
      for (int unsigned i = 0; i < 6; i++) shift_high_q[i] <= shift_q[5][5:3] == 3'(i);
      for (int unsigned i = 0; i < 5; i++) mask_high_q[i] <= shift_q[5][5:3] <= 3'(i);
      for (int unsigned i = 0; i < 7; i++) mask_low_q[i] <= shift_q[6][2:0] <= 3'(i);
    end

    // The second map's products wait for the requantised value.
    logic [Lanes-1:0][26:0] second_early, second_late;
    npu_delay #(
        .Width (27 * Lanes),
        .Cycles(10),
        .Block (1'b1)
    ) u_delay (
        .clk,
        .rst,
        .in (second_early),
        .out(second_late)
    );

    for (genvar l = 0; l < Lanes; l++) begin : gen_lane
      logic signed [7:0] code, looked_up;
      npu_requant_lane u_lane (
          .clk,
          .acc(row[d][l]),
          .bias(parameters[31:0]),
          .second(commands[slot_q[1].side].residual[3:2] == npu_pkg::SpreadChannel ? second[d][7:0]
              : second[d][8*l+:8]),
          .z_res(commands[slot_q[1].side].z_res),
          .multiply(commands[slot_q[2].side].residual[1:0] == npu_pkg::ResMultiply),
          .m_res(commands[slot_q[2].side].m_res[17:0]),
          .m_pos(m_pos_q[3]),
          .m_neg(m_neg_q[3]),
          .second_early(second_early[l]),
          .shift_high(shift_high_q),
          .mask_high(mask_high_q),
          .shift_low(shift_q[7][2:0]),
          .mask_low(mask_low_q),
          .z_out(commands[slot_q[8].side].z_out),
          .lo(commands[slot_q[8].side].lo),
          .hi(commands[slot_q[8].side].hi),
          .code,
          .use_table(commands[slot_q[10].side].flags[npu_pkg::ExecFlagTable]),
          .looked_up,
          .z_main(commands[slot_q[11].side].z_main),
          .m_main(commands[slot_q[12].side].m_main[17:0]),
          .second_late(second_late[l]),
          .shift_add(shift_add_q),
          .mask_add(mask_add_q),
          .z_add(commands[slot_q[15].side].z_add),
          .lo_add(commands[slot_q[15].side].lo_add),
          .hi_add(commands[slot_q[15].side].hi_add),
          .add(commands[slot_q[15].side].residual[1:0] == npu_pkg::ResAdd),
          .result(result[d][l])
      );

      // Both tables, eight entries a word; entry q + 128.
      logic [7:0] index;
      logic [2:0] index_q;
      logic [63:0] entries;
      assign index = {~code[7], code[6:0]};
      npu_ram #(
          .Words(64),
          .Width(64)
      ) u_tables (
          .clk,
          .we(lt_valid),
          .waddr({lt_select, lt_addr}),
          .wdata(lt_data),
          .en(slot_q[9].valid[d] && commands[slot_q[9].side].flags[npu_pkg::ExecFlagTable]),
          .raddr({commands[slot_q[9].side].flags[npu_pkg::ExecFlagTableSelect], index[7:3]}),
          .rdata(entries)
      );
      always_ff @(posedge clk) index_q <= index[2:0];
      assign looked_up = entries[8*index_q+:8];
    end
  end

  npu_writer u_writer (
      .clk,
      .rst,
      .commands,
      .slot,
      .tile,
      .late(slot_q[16].valid),
      .result,
      .wr_valid,
      .wr_bank,
      .wr_addr,
      .wr_data,
      .wr_be
  );

  assign done = slot_q[17].valid[0] && slot_q[17].last;

endmodule
