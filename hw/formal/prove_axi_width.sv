// npu_axi_width: the pins carry, byte for byte, what the engines request and write.
//
// Every four bytes hold their own address, so data of a wrong address differ. One address answers
// with an error.
module prove_axi_width #(
  parameter int unsigned Bytes    = 16,
  parameter int unsigned MaxReads = 4
) (
  input logic               clk_i,
  input logic               rst_ni,
  input logic               s_axi_arvalid_i,
  input logic [       31:0] s_axi_araddr_i,
  input logic [        7:0] s_axi_arlen_i,
  input logic               s_axi_rready_i,
  input logic               s_axi_awvalid_i,
  input logic [       31:0] s_axi_awaddr_i,
  input logic [        7:0] s_axi_awlen_i,
  input logic               s_axi_wvalid_i,
  input logic [       63:0] s_axi_wdata_i,
  input logic               s_axi_wlast_i,
  input logic               m_axi_arready_i,
  input logic               m_axi_rvalid_i,
  input logic [8*Bytes-1:0] m_axi_rdata_i,
  input logic [        1:0] m_axi_rresp_i,
  input logic               m_axi_rlast_i,
  input logic               m_axi_awready_i,
  input logic               m_axi_wready_i,
  // The address that answers with an error; it never changes.
  input logic [       31:0] bad_i
);
  localparam int unsigned Bits = $clog2(MaxReads);
  localparam int unsigned Width = $clog2(Bytes);

  logic s_axi_arready, s_axi_rvalid, s_axi_rlast, s_axi_awready, s_axi_wready;
  logic [63:0] s_axi_rdata;
  logic [1:0] s_axi_rresp;
  logic m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_wlast;
  logic [31:0] m_axi_araddr, m_axi_awaddr;
  logic [7:0] m_axi_arlen, m_axi_awlen;
  logic [2:0] m_axi_arsize, m_axi_awsize;
  logic [8*Bytes-1:0] m_axi_wdata;
  logic [Bytes-1:0] m_axi_wstrb;

  npu_axi_width #(
    .Bytes   (Bytes),
    .MaxReads(MaxReads)
  ) u_width (
    .clk_i,
    .rst_ni,
    .s_axi_arvalid_i,
    .s_axi_arready_o(s_axi_arready),
    .s_axi_araddr_i,
    .s_axi_arlen_i,
    .s_axi_rvalid_o (s_axi_rvalid),
    .s_axi_rready_i,
    .s_axi_rdata_o  (s_axi_rdata),
    .s_axi_rresp_o  (s_axi_rresp),
    .s_axi_rlast_o  (s_axi_rlast),
    .s_axi_awvalid_i,
    .s_axi_awready_o(s_axi_awready),
    .s_axi_awaddr_i,
    .s_axi_awlen_i,
    .s_axi_wvalid_i,
    .s_axi_wready_o (s_axi_wready),
    .s_axi_wdata_i,
    .s_axi_wlast_i,
    .m_axi_arvalid_o(m_axi_arvalid),
    .m_axi_arready_i,
    .m_axi_araddr_o (m_axi_araddr),
    .m_axi_arlen_o  (m_axi_arlen),
    .m_axi_arsize_o (m_axi_arsize),
    .m_axi_rvalid_i,
    .m_axi_rready_o (m_axi_rready),
    .m_axi_rdata_i,
    .m_axi_rresp_i,
    .m_axi_rlast_i,
    .m_axi_awvalid_o(m_axi_awvalid),
    .m_axi_awready_i,
    .m_axi_awaddr_o (m_axi_awaddr),
    .m_axi_awlen_o  (m_axi_awlen),
    .m_axi_awsize_o (m_axi_awsize),
    .m_axi_wvalid_o (m_axi_wvalid),
    .m_axi_wready_i,
    .m_axi_wdata_o  (m_axi_wdata),
    .m_axi_wstrb_o  (m_axi_wstrb),
    .m_axi_wlast_o  (m_axi_wlast)
  );

  // A burst's first address at the pins, and the number of its last beat there.
  function automatic logic [31:0] pin_start(logic [31:0] start);
    return start >> Width << Width;
  endfunction
  function automatic logic [7:0] pin_last(logic [31:0] start, logic [7:0] length);
    logic [31:0] last;
    last = start + {21'b0, length, 3'b0} + 32'd7;
    return 8'((last >> Width) - (start >> Width));
  endfunction
  function automatic logic [63:0] tags(logic [31:0] address);
    return {address + 32'd4, address};
  endfunction
  // An engine's burst: whole beats, at most 32, within 4 KiB.
  function automatic logic fair(logic [31:0] start, logic [7:0] length);
    return start[2:0] == '0 && length < 8'd32 && 10'(start[11:3]) + 10'(length) < 10'd512;
  endfunction

  logic begun_q = 1'b0;
  logic [31:0] bad_q;

  // Read bursts in flight, oldest first; beats of the oldest that engine and pins have passed.
  logic [Bits:0] open_q;
  logic [MaxReads:0][31:0] start_q;
  logic [MaxReads:0][7:0] length_q;
  logic [7:0] beat_q, pin_beat_q;
  logic asked, taken, pin_taken, offered_q;
  logic [31:0] address, pin_address;
  assign asked = s_axi_arvalid_i && s_axi_arready;
  assign taken = s_axi_rvalid && s_axi_rready_i;
  assign pin_taken = m_axi_rvalid_i && m_axi_rready;
  assign address = start_q[0] + {21'b0, beat_q, 3'b0};
  assign pin_address = pin_start(start_q[0]) + (32'(pin_beat_q) << Width);

  // The write burst in flight.
  logic busy_q, pending_q, shown, sent, pin_sent;
  logic [31:0] w_address_q, w_address, w_pin_address;
  logic [32:0] w_end;
  logic [7:0] w_length_q, w_beat_q, w_pin_beat_q;
  assign shown = s_axi_awvalid_i && !busy_q && !pending_q;
  assign sent = s_axi_wvalid_i && s_axi_wready;
  assign pin_sent = m_axi_wvalid && m_axi_wready_i;
  assign w_address = s_axi_awaddr_i + {21'b0, w_beat_q, 3'b0};
  assign w_pin_address = pin_start(s_axi_awaddr_i) + (32'(w_pin_beat_q) << Width);
  assign w_end = 33'(s_axi_awaddr_i) + {22'b0, s_axi_awlen_i, 3'b0} + 33'd8;

  // Offers of the previous cycle that were not accepted.
  logic w_waits_q, pin_w_waits_q, r_waits_q;
  logic [8*Bytes-1:0] pin_w_data_q;
  logic [Bytes-1:0] pin_w_strobes_q;
  logic pin_w_last_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    bad_q <= bad_i;
    if (taken && s_axi_rlast) begin
      for (int i = 0; i < MaxReads; i++) begin
        start_q[i] <= start_q[i+1];
        length_q[i] <= length_q[i+1];
      end
    end
    if (asked) begin
      start_q[open_q-(Bits+1)'(taken&&s_axi_rlast)] <= s_axi_araddr_i;
      length_q[open_q-(Bits+1)'(taken&&s_axi_rlast)] <= s_axi_arlen_i;
    end
    open_q <= open_q + (Bits + 1)'(asked) - (Bits + 1)'(taken && s_axi_rlast);
    if (taken) beat_q <= s_axi_rlast ? '0 : beat_q + 1'b1;
    if (pin_taken) pin_beat_q <= m_axi_rlast_i ? '0 : pin_beat_q + 1'b1;
    r_waits_q <= m_axi_rvalid_i && !m_axi_rready;
    offered_q <= s_axi_rvalid && !s_axi_rready_i;

    busy_q <= (busy_q || shown) && !(sent && s_axi_wlast_i);
    pending_q <= s_axi_awvalid_i && !s_axi_awready;
    w_address_q <= s_axi_awaddr_i;
    w_length_q <= s_axi_awlen_i;
    if (sent) w_beat_q <= s_axi_wlast_i ? '0 : w_beat_q + 1'b1;
    if (pin_sent) w_pin_beat_q <= m_axi_wlast ? '0 : w_pin_beat_q + 1'b1;
    w_waits_q <= s_axi_wvalid_i && !s_axi_wready;
    pin_w_waits_q <= m_axi_wvalid && !m_axi_wready_i;
    pin_w_data_q <= m_axi_wdata;
    pin_w_strobes_q <= m_axi_wstrb;
    pin_w_last_q <= m_axi_wlast;
    if (!rst_ni) begin
      open_q <= '0;
      beat_q <= '0;
      pin_beat_q <= '0;
      r_waits_q <= 1'b0;
      offered_q <= 1'b0;
      busy_q <= 1'b0;
      pending_q <= 1'b0;
      w_beat_q <= '0;
      w_pin_beat_q <= '0;
      w_waits_q <= 1'b0;
      pin_w_waits_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (begun_q) assume (bad_i == bad_q);
    assume (bad_i[1:0] == '0);

    // Engine, reads: it accepts beats of its own bursts only.
    if (s_axi_arvalid_i)
      assume (fair(s_axi_araddr_i, s_axi_arlen_i) && open_q < (Bits + 1)'(MaxReads));
    // Memory: beats of the oldest burst, which it keeps on offer.
    if (r_waits_q) assume (m_axi_rvalid_i);
    if (open_q == '0) assume (!m_axi_rvalid_i && !s_axi_rready_i);
    for (int unsigned i = 0; i < Bytes; i += 4) assume (m_axi_rdata_i[8*i+:32] == pin_address + i);
    assume (m_axi_rlast_i == (pin_beat_q == pin_last(start_q[0], length_q[0])));
    assume (m_axi_rresp_i[1] == (pin_address >> Width == bad_i >> Width));

    // Engine, writes: a burst's address is stable until its data have been sent.
    if (s_axi_awvalid_i) assume (fair(s_axi_awaddr_i, s_axi_awlen_i));
    if (pending_q) assume (s_axi_awvalid_i);
    if (busy_q || pending_q) assume (s_axi_awaddr_i == w_address_q && s_axi_awlen_i == w_length_q);
    if (busy_q && !pending_q) assume (!s_axi_awvalid_i);
    if (w_waits_q) assume (s_axi_wvalid_i);
    if (!busy_q && !shown) assume (!s_axi_wvalid_i);
    assume (s_axi_wdata_i == tags(w_address) && s_axi_wlast_i == (w_beat_q == s_axi_awlen_i));

    if (begun_q) begin
      // Bursts are whole beats of the bus within 4 KiB.
      assert (m_axi_arvalid == s_axi_arvalid_i && m_axi_awvalid == s_axi_awvalid_i);
      if (s_axi_arvalid_i) begin
        assert (m_axi_araddr == pin_start(
            s_axi_araddr_i
        ) && m_axi_arlen == pin_last(
            s_axi_araddr_i, s_axi_arlen_i
        ));
        assert (13'(m_axi_araddr[11:0]) + (13'(m_axi_arlen) + 13'd1 << Width) <= 13'd4096);
        assert (32'(m_axi_arsize) == Width);
      end
      if (s_axi_awvalid_i) begin
        assert (m_axi_awaddr == pin_start(
            s_axi_awaddr_i
        ) && m_axi_awlen == pin_last(
            s_axi_awaddr_i, s_axi_awlen_i
        ));
        assert (13'(m_axi_awaddr[11:0]) + (13'(m_axi_awlen) + 13'd1 << Width) <= 13'd4096);
        assert (32'(m_axi_awsize) == Width);
      end
      // Read beats come from the right address, the last one is marked, and an error of any of
      // their bytes is reported.
      if (s_axi_rvalid) begin
        assert (s_axi_rdata == tags(address) && s_axi_rlast == (beat_q == length_q[0]));
        assert (s_axi_rresp[1] ==
                (Bytes == 16 ? address >> 4 == bad_i >> 4 : address >> 3 == bad_i >> 3));
      end
      if (offered_q) assert (s_axi_rvalid);
      if (m_axi_rvalid_i && s_axi_rready_i) assert (m_axi_rready || s_axi_rvalid);
      // Written beats are exactly the burst's bytes; an offer stays until it is accepted.
      if (m_axi_wvalid) begin
        for (int unsigned i = 0; i < Bytes; i += 4) begin
          if (w_pin_address + i >= s_axi_awaddr_i && 33'(w_pin_address) + i < w_end)
            assert (m_axi_wstrb[i+:4] == '1 && m_axi_wdata[8*i+:32] == w_pin_address + i);
            else assert (m_axi_wstrb[i+:4] == '0);
        end
        assert (m_axi_wlast == (w_pin_beat_q == pin_last(s_axi_awaddr_i, s_axi_awlen_i)));
      end
      if (pin_w_waits_q)
        assert (m_axi_wvalid && m_axi_wstrb == pin_w_strobes_q && m_axi_wlast == pin_w_last_q &&
                m_axi_wdata == pin_w_data_q);
      assert ((sent && s_axi_wlast_i) == (pin_sent && m_axi_wlast));
      if (s_axi_wvalid_i && m_axi_wready_i) assert (s_axi_wready || m_axi_wvalid);
    end
  end

  // Invariants between the block's registers and the model's, for the induction.
  always_comb begin
    if (begun_q) begin
      assert (open_q <= (Bits + 1)'(MaxReads));
      if (open_q == '0)
        assert (beat_q == '0 && pin_beat_q == '0);
        else assert (beat_q <= length_q[0]);
      for (int unsigned i = 0; i < MaxReads; i++) begin
        if ((Bits + 1)'(i) < open_q) assert (fair(start_q[i], length_q[i]));
      end
      if (busy_q || pending_q) assert (fair(w_address_q, w_length_q));
      if (busy_q)
        assert (w_beat_q <= w_length_q);
        else assert (w_beat_q == '0 && w_pin_beat_q == '0);
      if (w_waits_q) assert (busy_q);
    end
  end

  if (Bytes == 4) begin : gen_narrow
    always_comb begin
      if (begun_q) begin
        // Between bursts the registers are as after a reset, so a reset with an idle bus changes
        // nothing.
        if (open_q == '0) assert (!u_width.gen_narrow.upper_q);
        if (!busy_q) assert (!u_width.gen_narrow.second_q);
        assert (pin_beat_q == {beat_q[6:0], u_width.gen_narrow.upper_q});
        if (u_width.gen_narrow.upper_q) begin
          assert (u_width.gen_narrow.lower_q == address);
          assert (u_width.gen_narrow.lower_resp_q[1] == (address == bad_i));
        end
        assert (w_pin_beat_q == {w_beat_q[6:0], u_width.gen_narrow.second_q});
      end
    end
  end else if (Bytes == 16) begin : gen_wide
    logic [7:0] half, w_half;
    assign half = beat_q + 8'(start_q[0][3]);
    assign w_half = w_beat_q + 8'(w_address_q[3]);
    always_comb begin
      if (begun_q) begin
        if (open_q == '0)
          assert (!u_width.gen_wide.begun_q && u_width.gen_wide.u_reads.count_o == '0);
        if (!busy_q) assert (!u_width.gen_wide.sent_q);
        assert (u_width.gen_wide.u_reads.count_o == open_q);
        for (int unsigned i = 0; i < MaxReads; i++) begin
          if ((Bits + 1)'(i) < open_q)
            assert (u_width.gen_wide.u_reads.mem[u_width.gen_wide.u_reads.read_q[Bits-1:0]+Bits'(i)]
                    == {start_q[i][3], start_q[i][3] ^ length_q[i][0]});
        end
        assert (u_width.gen_wide.begun_q == (beat_q != '0));
        if (beat_q != '0)
          assert (u_width.gen_wide.upper_q == half[0] && pin_beat_q == half >> 1);
          else assert (pin_beat_q == '0);
        assert (u_width.gen_wide.sent_q == (w_beat_q != '0));
        if (w_beat_q != '0) begin
          assert (u_width.gen_wide.second_q == w_half[0] && w_pin_beat_q == w_half >> 1);
          if (w_half[0])
            assert (u_width.gen_wide.lower_q == tags(w_address_q + {21'b0, w_beat_q - 8'd1, 3'b0}));
        end else assert (w_pin_beat_q == '0);
      end
    end
  end else begin : gen_same
    always_comb if (begun_q) assert (pin_beat_q == beat_q && w_pin_beat_q == w_beat_q);
  end

  always_comb begin
    if (begun_q) begin
      cover (taken && s_axi_rlast && length_q[0] == 8'd2 && start_q[0][3] && open_q > 2 &&
             s_axi_rresp[1]);
      cover (sent && s_axi_wlast_i && s_axi_awlen_i == 8'd2 && s_axi_awaddr_i[3]);
      cover (pin_w_waits_q && sent && s_axi_wlast_i && s_axi_awlen_i == 8'd1 && !s_axi_awaddr_i[3]);
    end
  end
endmodule
