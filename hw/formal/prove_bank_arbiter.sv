// npu_bank_arbiter: grants a bank's second port by priority, and every reader gets the byte that
// was written last.
//
// One byte of one vector is followed; the solver chooses it once. Priorities are equations: a
// client waits if and only if a client of higher priority requests the same bank in the same cycle.
module prove_bank_arbiter
  import npu_pkg::*;
(
  input logic                                      clk_i,
  input logic                                      rst_ni,
  input logic [        Rows-1:0]                   op_en_i,
  input logic [BankAddrBits-1:0]                   op_addr_i,
  input logic [   DrainRows-1:0]                   wr_valid_i,
  input logic [   DrainRows-1:0][     RowBits-1:0] wr_bank_i,
  input logic [   DrainRows-1:0][BankAddrBits-1:0] wr_addr_i,
  input logic [   DrainRows-1:0][     8*Lanes-1:0] wr_data_i,
  input logic [       Lanes-1:0]                   wr_be_i,
  input logic [   DrainRows-1:0]                   ew_request_i,
  input logic [   DrainRows-1:0][     RowBits-1:0] ew_bank_i,
  input logic [   DrainRows-1:0][BankAddrBits-1:0] ew_addr_i,
  input logic                                      ld_valid_i,
  input logic [     RowBits-1:0]                   ld_bank_i,
  input logic [BankAddrBits-1:0]                   ld_addr_i,
  input logic [     8*Lanes-1:0]                   ld_data_i,
  input logic [       Lanes-1:0]                   ld_be_i,
  input logic                                      st_valid_i,
  input logic [     RowBits-1:0]                   st_bank_i,
  input logic [BankAddrBits-1:0]                   st_addr_i,
  // The byte that is followed.
  input logic [     RowBits-1:0]                   chosen_bank_i,
  input logic [BankAddrBits-1:0]                   chosen_addr_i,
  input logic [    LaneBits-1:0]                   chosen_byte_i
);
  logic [8*Lanes-1:0] op_data[Rows];
  logic ew_grant, ew_rvalid, ld_ready, st_ready, st_rvalid;
  logic [DrainRows-1:0][8*Lanes-1:0] ew_data;
  logic [8*Lanes-1:0] st_rdata;

  npu_bank_arbiter u_bank_arbiter (
    .clk_i,
    .rst_ni,
    .op_addr_i,
    .op_data_o  (op_data),
    .wr_valid_i,
    .wr_bank_i,
    .wr_addr_i,
    .wr_data_i,
    .wr_be_i,
    .ew_request_i,
    .ew_bank_i,
    .ew_addr_i,
    .ew_grant_o (ew_grant),
    .ew_rvalid_o(ew_rvalid),
    .ew_data_o  (ew_data),
    .ld_valid_i,
    .ld_ready_o (ld_ready),
    .ld_bank_i,
    .ld_addr_i,
    .ld_data_i,
    .ld_be_i,
    .st_valid_i,
    .st_ready_o (st_ready),
    .st_bank_i,
    .st_addr_i,
    .st_rvalid_o(st_rvalid),
    .st_rdata_o (st_rdata)
  );

  logic begun_q = 1'b0;
  logic [RowBits-1:0] bank_q;
  logic [BankAddrBits-1:0] addr_q;
  logic [LaneBits-1:0] byte_q;

  // The byte's value, once it has been written.
  logic known_q, wr_here, ld_here;
  logic [7:0] value_q, wr_value;
  assign ld_here = ld_valid_i && ld_ready && ld_bank_i == bank_q && ld_addr_i == addr_q;
  always_comb begin
    wr_here = 1'b0;
    wr_value = '0;
    for (int unsigned d = 0; d < DrainRows; d++) begin
      if (wr_valid_i[d] && wr_bank_i[d] == bank_q && wr_addr_i[d] == addr_q) begin
        wr_here = 1'b1;
        wr_value = wr_data_i[d][8*byte_q+:8];
      end
    end
  end

  // A client of higher priority requests the bank.
  function automatic logic wanted(input logic [DrainRows-1:0] valid,
                                  input logic [DrainRows-1:0][RowBits-1:0] banks,
                                  input logic [RowBits-1:0] bank);
    wanted = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++) if (valid[d] && banks[d] == bank) wanted = 1'b1;
  endfunction
  logic ew_blocked;
  always_comb begin
    ew_blocked = 1'b0;
    for (int unsigned d = 0; d < DrainRows; d++)
    if (ew_request_i[d] && wanted(wr_valid_i, wr_bank_i, ew_bank_i[d])) ew_blocked = 1'b1;
  end

  // Reads of the byte in flight.
  logic [4:1] st_q, st_here_q, ew_q;
  logic [4:1][DrainRows-1:0] ew_here_q;
  logic [4:1][7:0] value_past_q;
  logic [2:1] op_here_q;
  logic written_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    if (!begun_q) begin
      bank_q <= chosen_bank_i;
      addr_q <= chosen_addr_i;
      byte_q <= chosen_byte_i;
      known_q <= 1'b0;
    end else if (wr_here && wr_be_i[byte_q]) begin
      known_q <= 1'b1;
      value_q <= wr_value;
    end else if (ld_here && ld_be_i[byte_q]) begin
      known_q <= 1'b1;
      value_q <= ld_data_i[8*byte_q+:8];
    end
    ew_q <= {ew_q[3:1], ew_grant};
    st_q <= {st_q[3:1], st_valid_i && st_ready};
    ew_here_q[4:2] <= ew_here_q[3:1];
    for (int unsigned d = 0; d < DrainRows; d++)
    ew_here_q[1][d] <= known_q && ew_grant && ew_request_i[d] && ew_bank_i[d] == bank_q &&
        ew_addr_i[d] == addr_q;
    st_here_q <= {
      st_here_q[3:1],
      known_q && st_valid_i && st_ready && st_bank_i == bank_q && st_addr_i == addr_q
    };
    op_here_q <= {
      begun_q && op_here_q[1], begun_q && known_q && op_en_i[bank_q] && op_addr_i == addr_q
    };
    value_past_q <= {value_past_q[3:1], value_q};
    // An accepted write takes effect one cycle later.
    written_q <= begun_q && known_q;
    if (!rst_ni) begin
      ew_q <= '0;
      st_q <= '0;
      ew_here_q <= '0;
      st_here_q <= '0;
    end
  end

  // Invariant for the induction: the bank holds the byte.
  for (genvar r = 0; r < Rows; r++) begin : gen_bank
    always_comb begin
      if (begun_q && written_q && known_q && bank_q == RowBits'(r))
        assert (u_bank_arbiter.gen_bank[r].u_bank.mem[addr_q][8*byte_q+:8] == value_past_q[1]);
      if (begun_q && op_here_q[1] && bank_q == RowBits'(r))
        assert (u_bank_arbiter.gen_bank[r].op_addr_q == addr_q);
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    // Commands are free of hazards: no operand is read in the cycle in which it is written (both
    // act one cycle later). Every write has a byte enable.
    if (op_en_i[bank_q] && op_addr_i == addr_q) assume (!wr_here && !ld_here);
    assume (ld_be_i != '0 && (wr_be_i != '0 || wr_valid_i == '0));
    // Rows of one cycle: results go to different banks; a bank is asked for one vector.
    if (DrainRows == 2) begin
      assume (!(wr_valid_i == '1 && wr_bank_i[0] == wr_bank_i[DrainRows-1]));
      assume (!(ew_request_i == '1 && ew_bank_i[0] == ew_bank_i[DrainRows-1] &&
                ew_addr_i[0] != ew_addr_i[DrainRows-1]));
    end

    if (begun_q) begin
      assert (ew_grant == (ew_request_i != '0 && !ew_blocked));
      if (ld_valid_i)
        assert (ld_ready == !(wanted(
            wr_valid_i, wr_bank_i, ld_bank_i
        ) || wanted(
            ew_request_i, ew_bank_i, ld_bank_i
        )));
      if (st_valid_i)
        assert (st_ready == !(wanted(
            wr_valid_i, wr_bank_i, st_bank_i
        ) || ew_request_i != '0 || (ld_valid_i && ld_bank_i == st_bank_i)));
      // Read data arrive exactly four cycles after the grant.
      assert (ew_rvalid == ew_q[4] && st_rvalid == st_q[4]);
      for (int unsigned d = 0; d < DrainRows; d++)
      if (ew_here_q[4][d]) assert (ew_data[d][8*byte_q+:8] == value_past_q[4]);
      if (st_here_q[4]) assert (st_rdata[8*byte_q+:8] == value_past_q[4]);
      if (op_here_q[2]) assert (op_data[bank_q][8*byte_q+:8] == value_past_q[2]);

      cover (ew_here_q[4] == '1 && st_here_q[3] && op_here_q[2]);
      cover (ld_valid_i && !ld_ready && wr_valid_i == '0);
    end
  end
endmodule
