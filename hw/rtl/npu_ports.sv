// The map banks and who may use their second port: results, second map, LOAD, STORE, in this order.

module npu_ports (
    input  logic                                                clk,
    input  logic                                                rst,
    // First port: operands.
    input  logic [         npu_pkg::Rows-1:0]                   op_en,
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
  assign st_ready = !among(wr_valid, wr_bank, st_bank) && !among(rs_request, rs_bank, st_bank)
      && !(ld_valid && ld_bank == st_bank);

  logic [8*npu_pkg::Lanes-1:0] b_data[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    logic wr, rs, ld, st, wr_turn, rs_turn;
    logic [npu_pkg::Lanes-1:0] we;
    logic [npu_pkg::BankAddrBits-1:0] addr;
    assign wr = among(wr_valid, wr_bank, RowBits'(r));
    assign rs = among(rs_request, rs_bank, RowBits'(r));
    assign ld = ld_valid && ld_bank == RowBits'(r);
    assign st = st_valid && st_bank == RowBits'(r);
    // Which of two rows it is.
    assign wr_turn = DrainRows == 2 && !(wr_valid[0] && wr_bank[0] == RowBits'(r));
    assign rs_turn = DrainRows == 2 && !(rs_request[0] && rs_bank[0] == RowBits'(r));
    always_comb begin
      we   = '0;
      addr = st_addr;
      if (wr) begin
        we   = wr_be;
        addr = wr_addr[wr_turn];
      end else if (rs) addr = rs_addr[rs_turn];
      else if (ld) begin
        we   = ld_be;
        addr = ld_addr;
      end
    end
    npu_bank #(
        .Words(npu_pkg::BankWords),
        .Bytes(npu_pkg::Lanes)
    ) u_bank (
        .clk,
        .a_en(op_en[r]),
        .a_addr(op_addr),
        .a_rdata(op_data[r]),
        .b_en(wr || rs || ld || st),
        .b_we(we),
        .b_addr(addr),
        .b_wdata(wr ? wr_data[wr_turn] : ld_data),
        .b_rdata(b_data[r])
    );
  end

  // A bank's data one cycle after the grant, registered once more behind the selection.
  logic rs_flight_q, st_flight_q;
  logic [DrainRows-1:0][RowBits-1:0] rs_bank_q;
  logic [RowBits-1:0] st_bank_q;
  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] rs_word;
  logic [8*npu_pkg::Lanes-1:0] st_word;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_second
    npu_select #(
        .Words(Rows),
        .Width(8 * npu_pkg::Lanes)
    ) u_select (
        .index(rs_bank_q[d]),
        .words(b_data),
        .out  (rs_word[d])
    );
  end
  npu_select #(
      .Words(Rows),
      .Width(8 * npu_pkg::Lanes)
  ) u_select (
      .index(st_bank_q),
      .words(b_data),
      .out  (st_word)
  );
  always_ff @(posedge clk) begin
    rs_flight_q <= rs_grant;
    rs_bank_q <= rs_bank;
    rs_answer <= rs_flight_q;
    if (rs_flight_q) rs_data <= rs_word;
    st_flight_q <= st_valid && st_ready;
    st_bank_q <= st_bank;
    st_rvalid <= st_flight_q;
    if (st_flight_q) st_rdata <= st_word;
    if (rst) begin
      rs_flight_q <= 1'b0;
      rs_answer <= 1'b0;
      st_flight_q <= 1'b0;
      st_rvalid <= 1'b0;
    end
  end

endmodule
