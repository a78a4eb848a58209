// Feature-map banks and the arbiter of their second port. Priority: results, element-wise operand,
// LOAD, STORE.
//
// STORE and the element-wise operand share the read path, so they never read in the same cycle. A
// register precedes both ports of a bank; two registers follow the second port: the memory's own
// and the one behind the bank multiplexer. A read returns its data four cycles after its grant.

module npu_bank_arbiter (
  input  logic                                                        clk_i,
  input  logic                                                        rst_ni,
  // First port: operands, valid two cycles after the address.
  input  logic [npu_pkg::BankAddrBits-1:0]                            op_addr_i,
  output logic [     8*npu_pkg::Lanes-1:0]                            op_data_o   [npu_pkg::Rows],
  // Results: always accepted; results of one cycle are in different banks.
  input  logic [   npu_pkg::DrainRows-1:0]                            wr_valid_i,
  input  logic [   npu_pkg::DrainRows-1:0][     npu_pkg::RowBits-1:0] wr_bank_i,
  input  logic [   npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] wr_addr_i,
  input  logic [   npu_pkg::DrainRows-1:0][     8*npu_pkg::Lanes-1:0] wr_data_i,
  input  logic [       npu_pkg::Lanes-1:0]                            wr_be_i,
  // Element-wise operand: all vectors of a cycle are granted or none. Requests for the same bank
  // ask for the same vector.
  input  logic [   npu_pkg::DrainRows-1:0]                            ew_request_i,
  input  logic [   npu_pkg::DrainRows-1:0][     npu_pkg::RowBits-1:0] ew_bank_i,
  input  logic [   npu_pkg::DrainRows-1:0][npu_pkg::BankAddrBits-1:0] ew_addr_i,
  output logic                                                        ew_grant_o,
  output logic                                                        ew_rvalid_o,
  output logic [   npu_pkg::DrainRows-1:0][     8*npu_pkg::Lanes-1:0] ew_data_o,
  // LOAD.
  input  logic                                                        ld_valid_i,
  output logic                                                        ld_ready_o,
  input  logic [     npu_pkg::RowBits-1:0]                            ld_bank_i,
  input  logic [npu_pkg::BankAddrBits-1:0]                            ld_addr_i,
  input  logic [     8*npu_pkg::Lanes-1:0]                            ld_data_i,
  input  logic [       npu_pkg::Lanes-1:0]                            ld_be_i,
  // STORE.
  input  logic                                                        st_valid_i,
  output logic                                                        st_ready_o,
  input  logic [     npu_pkg::RowBits-1:0]                            st_bank_i,
  input  logic [npu_pkg::BankAddrBits-1:0]                            st_addr_i,
  output logic                                                        st_rvalid_o,
  output logic [     8*npu_pkg::Lanes-1:0]                            st_rdata_o
);

  localparam int unsigned Rows = npu_pkg::Rows;
  localparam int unsigned RowBits = npu_pkg::RowBits;
  localparam int unsigned DrainRows = npu_pkg::DrainRows;

  // Returns whether `bank` is among the banks of one cycle's valid requests.
  function automatic logic among(input logic [DrainRows-1:0] valid,
                                 input logic [DrainRows-1:0][RowBits-1:0] banks,
                                 input logic [RowBits-1:0] bank);
    logic found;
    found = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++) found |= valid[d] && banks[d] == bank;
    return found;
  endfunction

  logic ew_clear;
  always_comb begin
    ew_clear = 1'b1;
    for (int unsigned d = 0; d < DrainRows; d++) begin
      if (ew_request_i[d] && among(wr_valid_i, wr_bank_i, ew_bank_i[d])) ew_clear = 1'b0;
    end
  end
  assign ew_grant_o = ew_request_i != '0 && ew_clear;
  logic ld_meets_wr, ld_meets_ew, st_meets_wr;
  assign ld_meets_wr = among(wr_valid_i, wr_bank_i, ld_bank_i);
  assign ld_meets_ew = among(ew_request_i, ew_bank_i, ld_bank_i);
  assign st_meets_wr = among(wr_valid_i, wr_bank_i, st_bank_i);
  assign ld_ready_o = !ld_meets_wr && !ld_meets_ew;
  assign st_ready_o = !st_meets_wr && ew_request_i == '0 && !(ld_valid_i && ld_bank_i == st_bank_i);

  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] wr_data_q;
  logic [8*npu_pkg::Lanes-1:0] ld_data_q;
  always_ff @(posedge clk_i) begin
    wr_data_q <= wr_data_i;
    ld_data_q <= ld_data_i;
  end

  logic [8*npu_pkg::Lanes-1:0] b_data_q[Rows];
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    logic wr, rs, ld, wr_way, rs_way;
    logic wr_q, wr_way_q;
    logic [npu_pkg::Lanes-1:0] we_q;
    logic [npu_pkg::BankAddrBits-1:0] addr_q;
    logic [8*npu_pkg::Lanes-1:0] b_data;
    logic [npu_pkg::BankAddrBits-1:0] op_addr_q;
    npu_replica #(
      .Width(npu_pkg::BankAddrBits)
    ) u_op_addr (
      .clk_i,
      .d_i(op_addr_i),
      .q_o(op_addr_q)
    );
    assign wr = among(wr_valid_i, wr_bank_i, RowBits'(r));
    assign rs = among(ew_request_i, ew_bank_i, RowBits'(r));
    assign ld = ld_valid_i && ld_bank_i == RowBits'(r);
    // Index of the drained row that uses this bank.
    assign wr_way = DrainRows == 2 && !(wr_valid_i[0] && wr_bank_i[0] == RowBits'(r));
    assign rs_way = DrainRows == 2 && !(ew_request_i[0] && ew_bank_i[0] == RowBits'(r));
    always_ff @(posedge clk_i) begin
      wr_q <= wr;
      wr_way_q <= wr_way;
      we_q <= '0;
      addr_q <= st_addr_i;
      if (wr) begin
        we_q <= wr_be_i;
        addr_q <= wr_addr_i[wr_way];
      end else if (rs) addr_q <= ew_addr_i[rs_way];
      else if (ld) begin
        we_q <= ld_be_i;
        addr_q <= ld_addr_i;
      end
    end
    npu_bank #(
      .Words(npu_pkg::BankWords),
      .Bytes(npu_pkg::Lanes)
    ) u_bank (
      .clk_i,
      .a_addr_i (op_addr_q),
      .a_rdata_o(op_data_o[r]),
      .b_we_i   (we_q),
      .b_addr_i (addr_q),
      .b_wdata_i(wr_q ? wr_data_q[wr_way_q] : ld_data_q),
      .b_rdata_o(b_data)
    );
    always_ff @(posedge clk_i) b_data_q[r] <= b_data;
  end

  // Stages: 1 with the bank's address, 2 with its data, 3 with the register behind it. In stage 3
  // every four lanes have their own copy of the bank number.
  logic [3:1] ew_flight_q, st_flight_q;
  logic [2:1][DrainRows-1:0][RowBits-1:0] bank_q;
  logic [DrainRows-1:0][8*npu_pkg::Lanes-1:0] word;
  for (genvar d = 0; d < DrainRows; d++) begin : gen_way
    for (genvar i = 0; i < npu_pkg::Lanes / 4; i++) begin : gen_lanes
      logic [RowBits-1:0] bank3_q;
      logic [31:0] words[Rows];
      npu_replica #(
        .Width(RowBits)
      ) u_bank_sel (
        .clk_i,
        .d_i(bank_q[2][d]),
        .q_o(bank3_q)
      );
      for (genvar r = 0; r < Rows; r++) begin : gen_words
        assign words[r] = b_data_q[r][32*i+:32];
      end
      npu_select #(
        .Words(Rows),
        .Width(32)
      ) u_select (
        .index_i(bank3_q),
        .words_i(words),
        .word_o (word[d][32*i+:32])
      );
    end
  end
  assign st_rdata_o = ew_data_o[0];
  always_ff @(posedge clk_i) begin
    bank_q <= {bank_q[1], ew_bank_i};
    if (ew_request_i == '0) bank_q[1][0] <= st_bank_i;
    ew_data_o <= word;
    {ew_rvalid_o, ew_flight_q} <= {ew_flight_q, ew_grant_o};
    {st_rvalid_o, st_flight_q} <= {st_flight_q, st_valid_i && st_ready_o};
    if (!rst_ni) begin
      ew_flight_q <= '0;
      ew_rvalid_o <= 1'b0;
      st_flight_q <= '0;
      st_rvalid_o <= 1'b0;
    end
  end

endmodule
