// The map banks and who may use their second port: results, second map, LOAD, STORE, in this order.
// STORE and second map share one way out of the banks, so that they never read in the same cycle.
//
// A register stands ahead of both of a bank's ports. Two stand behind the second one: the memory's own, and
// the one behind the choice among the banks. A read is answered four cycles after the grant.

module npu_ports (
    input  logic                                                clk,
    input  logic                                                rst,
    // First port: operands, two cycles on.
    input  logic [ npu_pkg::BankAddrBits-1:0]                   op_addr,
    output logic [8*npu_pkg::Lanes-1:0] op_data[npu_pkg::Rows],
    // Results: always taken; those of one cycle lie in different banks.
    input  logic [    npu_pkg::DrainRows-1:0]                   wr_valid,
    input  logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] wr_bank,
    input  logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr,
    input  logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data,
    input  logic [        npu_pkg::Lanes-1:0]                   wr_be,
    // Second map: all words of a cycle or none; those of one bank are the same word.
    input  logic [    npu_pkg::DrainRows-1:0]                   rs_request,
    input  logic [npu_pkg::DrainRows-1:0][npu_pkg::RowBits-1:0] rs_bank,
    input  logic [npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] rs_addr,
    output logic                                                rs_grant,
    output logic                                                rs_answer,
    output logic [npu_pkg::DrainRows-1:0][8*npu_pkg::Lanes-1:0] rs_data,
    // LOAD.
    input  logic                                                ld_valid,
    output logic                                                ld_ready,
    input  logic [      npu_pkg::RowBits-1:0]                   ld_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   ld_addr,
    input  logic [      8*npu_pkg::Lanes-1:0]                   ld_data,
    input  logic [        npu_pkg::Lanes-1:0]                   ld_be,
    // STORE.
    input  logic                                                st_valid,
    output logic                                                st_ready,
    input  logic [      npu_pkg::RowBits-1:0]                   st_bank,
    input  logic [ npu_pkg::BankAddrBits-1:0]                   st_addr,
    output logic                                                st_rvalid,
    output logic [      8*npu_pkg::Lanes-1:0]                   st_rdata
);

  localparam int unsigned Rows = npu_pkg::Rows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  // A bank is among those of one cycle's results, or of the second map.
  function automatic logic among(input logic [DrainRows-1:0] valid,
                                 input logic [DrainRows-1:0][RowBits-1:0] banks,
                                 input logic [RowBits-1:0] bank);
    logic found;
    found = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++) found |= valid[d] && banks[d] == bank;
    return found;
  endfunction

  logic rs_clear;
  always_comb begin
    rs_clear = 1'b1;
    for (int unsigned d = 0; d < DrainRows; d++) begin
      if (rs_request[d] && among(wr_valid, wr_bank, rs_bank[d])) rs_clear = 1'b0;
    end
  end
  assign rs_grant = rs_request != '0 && rs_clear;
  assign ld_ready = !among(wr_valid, wr_bank, ld_bank) && !among(rs_request, rs_bank, ld_bank);
  assign st_ready = !among(wr_valid, wr_bank, st_bank) && rs_request == '0 && !(ld_valid && ld_bank == st_bank);

  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data_q;
  logic [8*npu_pkg::Lanes-1:0] ld_data_q;
  always_ff @(posedge clk) begin
    wr_data_q <= wr_data;
    ld_data_q <= ld_data;
  end

  logic [8*npu_pkg::Lanes-1:0] b_data_q[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    logic wr, rs, ld, wr_turn, rs_turn;
    logic wr_q, wr_turn_q;
    logic [npu_pkg::Lanes-1:0] we_q;
    logic [npu_pkg::BankAddrBits-1:0] addr_q;
    logic [8*npu_pkg::Lanes-1:0] b_data;
    logic [npu_pkg::BankAddrBits-1:0] op_addr_q;
    npu_replica #(
        .Width(npu_pkg::BankAddrBits)
    ) u_op_addr (
        .clk,
        .in (op_addr),
        .out(op_addr_q)
    );
    assign wr = among(wr_valid, wr_bank, RowBits'(r));
    assign rs = among(rs_request, rs_bank, RowBits'(r));
    assign ld = ld_valid && ld_bank == RowBits'(r);
    // Which of two rows it is.
    assign wr_turn = DrainRows == 2 && !(wr_valid[0] && wr_bank[0] == RowBits'(r));
    assign rs_turn = DrainRows == 2 && !(rs_request[0] && rs_bank[0] == RowBits'(r));
    always_ff @(posedge clk) begin
      wr_q <= wr;
      wr_turn_q <= wr_turn;
      we_q <= '0;
      addr_q <= st_addr;
      if (wr) begin
        we_q   <= wr_be;
        addr_q <= wr_addr[wr_turn];
      end else if (rs) addr_q <= rs_addr[rs_turn];
      else if (ld) begin
        we_q   <= ld_be;
        addr_q <= ld_addr;
      end
    end
    npu_bank #(
        .Words(npu_pkg::BankWords),
        .Bytes(npu_pkg::Lanes)
    ) u_bank (
        .clk,
        .a_addr(op_addr_q),
        .a_rdata(op_data[r]),
        .b_we(we_q),
        .b_addr(addr_q),
        .b_wdata(wr_q ? wr_data_q[wr_turn_q] : ld_data_q),
        .b_rdata(b_data)
    );
    always_ff @(posedge clk) b_data_q[r] <= b_data;
  end

  // With the bank's address, its data, and the register behind them, of which every four lanes have their own.
  logic [3:1] rs_flight_q, st_flight_q;
  logic [2:1][DrainRows-1:0][RowBits-1:0] bank_q;
  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] word;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_way
    for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
      logic [RowBits-1:0] bank3_q;
      logic [31:0] words[Rows];
      npu_replica #(
          .Width(RowBits)
      ) u_bank (
          .clk,
          .in (bank_q[2][d]),
          .out(bank3_q)
      );
      for (genvar r = 0; r < Rows; r++) begin : gen_words
        assign words[r] = b_data_q[r][32*i+:32];
      end
      npu_select #(
          .Words(Rows),
          .Width(32)
      ) u_select (
          .index(bank3_q),
          .words,
          .out  (word[d][32*i+:32])
      );
    end
  end
  assign st_rdata = rs_data[0];
  always_ff @(posedge clk) begin
    bank_q <= {bank_q[1], rs_bank};
    if (rs_request == '0) bank_q[1][0] <= st_bank;
    rs_data <= word;
    {rs_answer, rs_flight_q} <= {rs_flight_q, rs_grant};
    {st_rvalid, st_flight_q} <= {st_flight_q, st_valid && st_ready};
    if (rst) begin
      rs_flight_q <= '0;
      rs_answer <= 1'b0;
      st_flight_q <= '0;
      st_rvalid <= 1'b0;
    end
  end

endmodule
