// npu_axi_width: what stands on the pins is, byte for byte, what the engines ask for and write.
//
// Every four bytes hold their own address, so data that come from, or go to, a wrong place differ. One
// address answers with an error.
module prove_axi_width #(
  parameter int unsigned Bytes = 16,
  parameter int unsigned MaxReads = 4
) (
  input logic               clk,
  input logic               rst,
  input logic               s_axi_arvalid,
  input logic [31:0]        s_axi_araddr,
  input logic [7:0]         s_axi_arlen,
  input logic               s_axi_rready,
  input logic               s_axi_awvalid,
  input logic [31:0]        s_axi_awaddr,
  input logic [7:0]         s_axi_awlen,
  input logic               s_axi_wvalid,
  input logic [63:0]        s_axi_wdata,
  input logic               s_axi_wlast,
  input logic               m_axi_arready,
  input logic               m_axi_rvalid,
  input logic [8*Bytes-1:0] m_axi_rdata,
  input logic [1:0]         m_axi_rresp,
  input logic               m_axi_rlast,
  input logic               m_axi_awready,
  input logic               m_axi_wready,
  // The address that answers with an error; it never changes.
  input logic [31:0]        bad
);
  localparam int unsigned Bits = $clog2(MaxReads);
  localparam int unsigned Width = $clog2(Bytes);

  logic               s_axi_arready, s_axi_rvalid, s_axi_rlast, s_axi_awready, s_axi_wready;
  logic [63:0]        s_axi_rdata;
  logic [1:0]         s_axi_rresp;
  logic               m_axi_arvalid, m_axi_rready, m_axi_awvalid, m_axi_wvalid, m_axi_wlast;
  logic [31:0]        m_axi_araddr, m_axi_awaddr;
  logic [7:0]         m_axi_arlen, m_axi_awlen;
  logic [2:0]         m_axi_arsize, m_axi_awsize;
  logic [8*Bytes-1:0] m_axi_wdata;
  logic [Bytes-1:0]   m_axi_wstrb;

  npu_axi_width #(.Bytes(Bytes), .MaxReads(MaxReads)) u_width (.*);

  // A burst's first address at the pins, and its last beat's number there.
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
  // A burst as an engine asks for it: whole beats, at most 32, within 4 KiB.
  function automatic logic fair(logic [31:0] start, logic [7:0] length);
    return start[2:0] == '0 && length < 8'd32 && 10'(start[11:3]) + 10'(length) < 10'd512;
  endfunction

  logic begun_q = 1'b0;
  logic [31:0] bad_q;

  // Read bursts under way, oldest first; beats of the oldest that engine and pins have passed.
  logic [Bits:0]             open_q;
  logic [MaxReads:0][31:0]   start_q;
  logic [MaxReads:0][7:0]    length_q;
  logic [7:0]                beat_q, pin_beat_q;
  logic                      asked, taken, pin_taken, offered_q;
  logic [31:0]               address, pin_address;
  assign asked       = s_axi_arvalid && s_axi_arready;
  assign taken       = s_axi_rvalid && s_axi_rready;
  assign pin_taken   = m_axi_rvalid && m_axi_rready;
  assign address     = start_q[0] + {21'b0, beat_q, 3'b0};
  assign pin_address = pin_start(start_q[0]) + (32'(pin_beat_q) << Width);

  // The write burst under way.
  logic        busy_q, pending_q, shown, sent, pin_sent;
  logic [31:0] w_address_q, w_address, w_pin_address;
  logic [32:0] w_end;
  logic [7:0]  w_length_q, w_beat_q, w_pin_beat_q;
  assign shown         = s_axi_awvalid && !busy_q && !pending_q;
  assign sent          = s_axi_wvalid && s_axi_wready;
  assign pin_sent      = m_axi_wvalid && m_axi_wready;
  assign w_address     = s_axi_awaddr + {21'b0, w_beat_q, 3'b0};
  assign w_pin_address = pin_start(s_axi_awaddr) + (32'(w_pin_beat_q) << Width);
  assign w_end         = 33'(s_axi_awaddr) + {22'b0, s_axi_awlen, 3'b0} + 33'd8;

  // Offers of the last cycle that were not taken.
  logic               w_waits_q, pin_w_waits_q, r_waits_q;
  logic [8*Bytes-1:0] pin_w_data_q;
  logic [Bytes-1:0]   pin_w_strobes_q;
  logic               pin_w_last_q;

  always_ff @(posedge clk) begin
    begun_q <= 1'b1;
    bad_q   <= bad;
    if (taken && s_axi_rlast) begin
      for (int i = 0; i < MaxReads; i++) begin
        start_q[i]  <= start_q[i+1];
        length_q[i] <= length_q[i+1];
      end
    end
    if (asked) begin
      start_q[open_q - (Bits + 1)'(taken && s_axi_rlast)]  <= s_axi_araddr;
      length_q[open_q - (Bits + 1)'(taken && s_axi_rlast)] <= s_axi_arlen;
    end
    open_q <= open_q + (Bits + 1)'(asked) - (Bits + 1)'(taken && s_axi_rlast);
    if (taken) beat_q <= s_axi_rlast ? '0 : beat_q + 1'b1;
    if (pin_taken) pin_beat_q <= m_axi_rlast ? '0 : pin_beat_q + 1'b1;
    r_waits_q <= m_axi_rvalid && !m_axi_rready;
    offered_q <= s_axi_rvalid && !s_axi_rready;

    busy_q    <= (busy_q || shown) && !(sent && s_axi_wlast);
    pending_q <= s_axi_awvalid && !s_axi_awready;
    w_address_q <= s_axi_awaddr;
    w_length_q  <= s_axi_awlen;
    if (sent) w_beat_q <= s_axi_wlast ? '0 : w_beat_q + 1'b1;
    if (pin_sent) w_pin_beat_q <= m_axi_wlast ? '0 : w_pin_beat_q + 1'b1;
    w_waits_q       <= s_axi_wvalid && !s_axi_wready;
    pin_w_waits_q   <= m_axi_wvalid && !m_axi_wready;
    pin_w_data_q    <= m_axi_wdata;
    pin_w_strobes_q <= m_axi_wstrb;
    pin_w_last_q    <= m_axi_wlast;
    if (rst) begin
      open_q        <= '0;
      beat_q        <= '0;
      pin_beat_q    <= '0;
      r_waits_q     <= 1'b0;
      offered_q     <= 1'b0;
      busy_q        <= 1'b0;
      pending_q     <= 1'b0;
      w_beat_q      <= '0;
      w_pin_beat_q  <= '0;
      w_waits_q     <= 1'b0;
      pin_w_waits_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    if (begun_q) assume (bad == bad_q);
    assume (bad[1:0] == '0);

    // Engine, reads: takes beats of its bursts alone.
    if (s_axi_arvalid) assume (fair(s_axi_araddr, s_axi_arlen) && open_q < (Bits + 1)'(MaxReads));
    // Memory: beats of the oldest burst, which it keeps on offer.
    if (r_waits_q) assume (m_axi_rvalid);
    if (open_q == '0) assume (!m_axi_rvalid && !s_axi_rready);
    for (int unsigned i = 0; i < Bytes; i += 4) assume (m_axi_rdata[8*i +: 32] == pin_address + i);
    assume (m_axi_rlast == (pin_beat_q == pin_last(start_q[0], length_q[0])));
    assume (m_axi_rresp[1] == (pin_address >> Width == bad >> Width));

    // Engine, writes: a burst's address stands until its data have been sent.
    if (s_axi_awvalid) assume (fair(s_axi_awaddr, s_axi_awlen));
    if (pending_q) assume (s_axi_awvalid);
    if (busy_q || pending_q) assume (s_axi_awaddr == w_address_q && s_axi_awlen == w_length_q);
    if (busy_q && !pending_q) assume (!s_axi_awvalid);
    if (w_waits_q) assume (s_axi_wvalid);
    if (!busy_q && !shown) assume (!s_axi_wvalid);
    assume (s_axi_wdata == tags(w_address) && s_axi_wlast == (w_beat_q == s_axi_awlen));

    if (begun_q) begin
      // Bursts are whole beats of the bus within 4 KiB.
      assert (m_axi_arvalid == s_axi_arvalid && m_axi_awvalid == s_axi_awvalid);
      if (s_axi_arvalid) begin
        assert (m_axi_araddr == pin_start(s_axi_araddr) && m_axi_arlen == pin_last(s_axi_araddr, s_axi_arlen));
        assert (13'(m_axi_araddr[11:0]) + (13'(m_axi_arlen) + 13'd1 << Width) <= 13'd4096);
        assert (32'(m_axi_arsize) == Width);
      end
      if (s_axi_awvalid) begin
        assert (m_axi_awaddr == pin_start(s_axi_awaddr) && m_axi_awlen == pin_last(s_axi_awaddr, s_axi_awlen));
        assert (13'(m_axi_awaddr[11:0]) + (13'(m_axi_awlen) + 13'd1 << Width) <= 13'd4096);
        assert (32'(m_axi_awsize) == Width);
      end
      // Beats read: of the right place, the last marked, an error of any byte of them told.
      if (s_axi_rvalid) begin
        assert (s_axi_rdata == tags(address) && s_axi_rlast == (beat_q == length_q[0]));
        assert (s_axi_rresp[1] == (Bytes == 16 ? address >> 4 == bad >> 4 : address >> 3 == bad >> 3));
      end
      if (offered_q) assert (s_axi_rvalid);
      if (m_axi_rvalid && s_axi_rready) assert (m_axi_rready || s_axi_rvalid);
      // Beats written: exactly the burst's bytes, and what is offered stays.
      if (m_axi_wvalid) begin
        for (int unsigned i = 0; i < Bytes; i += 4) begin
          if (w_pin_address + i >= s_axi_awaddr && 33'(w_pin_address) + i < w_end)
            assert (m_axi_wstrb[i +: 4] == '1 && m_axi_wdata[8*i +: 32] == w_pin_address + i);
          else assert (m_axi_wstrb[i +: 4] == '0);
        end
        assert (m_axi_wlast == (w_pin_beat_q == pin_last(s_axi_awaddr, s_axi_awlen)));
      end
      if (pin_w_waits_q)
        assert (m_axi_wvalid && m_axi_wstrb == pin_w_strobes_q && m_axi_wlast == pin_w_last_q
          && m_axi_wdata == pin_w_data_q);
      assert ((sent && s_axi_wlast) == (pin_sent && m_axi_wlast));
      if (s_axi_wvalid && m_axi_wready) assert (s_axi_wready || m_axi_wvalid);
    end
  end

  // How the block's registers and the model's belong together: what the induction needs.
  always_comb begin
    if (begun_q) begin
      assert (open_q <= (Bits + 1)'(MaxReads));
      if (open_q == '0) assert (beat_q == '0 && pin_beat_q == '0);
      else assert (beat_q <= length_q[0]);
      for (int unsigned i = 0; i < MaxReads; i++) begin
        if ((Bits + 1)'(i) < open_q) assert (fair(start_q[i], length_q[i]));
      end
      if (busy_q || pending_q) assert (fair(w_address_q, w_length_q));
      if (busy_q) assert (w_beat_q <= w_length_q);
      else assert (w_beat_q == '0 && w_pin_beat_q == '0);
      if (w_waits_q) assert (busy_q);
    end
  end

  if (Bytes == 4) begin : g_narrow
    always_comb begin
      if (begun_q) begin
        // Between bursts it is as after a reset: one with an idle bus changes nothing.
        if (open_q == '0) assert (!u_width.g_narrow.upper_q);
        if (!busy_q) assert (!u_width.g_narrow.second_q);
        assert (pin_beat_q == {beat_q[6:0], u_width.g_narrow.upper_q});
        if (u_width.g_narrow.upper_q) begin
          assert (u_width.g_narrow.lower_q == address);
          assert (u_width.g_narrow.lower_resp_q[1] == (address == bad));
        end
        assert (w_pin_beat_q == {w_beat_q[6:0], u_width.g_narrow.second_q});
      end
    end
  end else if (Bytes == 16) begin : g_wide
    logic [7:0] half, w_half;
    assign half   = beat_q + 8'(start_q[0][3]);
    assign w_half = w_beat_q + 8'(w_address_q[3]);
    always_comb begin
      if (begun_q) begin
        if (open_q == '0) assert (!u_width.g_wide.begun_q && u_width.g_wide.u_reads.count == '0);
        if (!busy_q) assert (!u_width.g_wide.sent_q);
        assert (u_width.g_wide.u_reads.count == open_q);
        for (int unsigned i = 0; i < MaxReads; i++) begin
          if ((Bits + 1)'(i) < open_q)
            assert (u_width.g_wide.u_reads.mem[u_width.g_wide.u_reads.read_q[Bits-1:0] + Bits'(i)]
              == {start_q[i][3], start_q[i][3] ^ length_q[i][0]});
        end
        assert (u_width.g_wide.begun_q == (beat_q != '0));
        if (beat_q != '0) assert (u_width.g_wide.upper_q == half[0] && pin_beat_q == half >> 1);
        else assert (pin_beat_q == '0);
        assert (u_width.g_wide.sent_q == (w_beat_q != '0));
        if (w_beat_q != '0) begin
          assert (u_width.g_wide.second_q == w_half[0] && w_pin_beat_q == w_half >> 1);
          if (w_half[0]) assert (u_width.g_wide.lower_q == tags(w_address_q + {21'b0, w_beat_q - 8'd1, 3'b0}));
        end else assert (w_pin_beat_q == '0);
      end
    end
  end else begin : g_same
    always_comb if (begun_q) assert (pin_beat_q == beat_q && w_pin_beat_q == w_beat_q);
  end

  always_comb begin
    if (begun_q) begin
      cover (taken && s_axi_rlast && length_q[0] == 8'd2 && start_q[0][3] && open_q > 2 && s_axi_rresp[1]);
      cover (sent && s_axi_wlast && s_axi_awlen == 8'd2 && s_axi_awaddr[3]);
      cover (pin_w_waits_q && sent && s_axi_wlast && s_axi_awlen == 8'd1 && !s_axi_awaddr[3]);
    end
  end
endmodule
