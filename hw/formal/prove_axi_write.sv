// npu_axi_write: obeys the bus protocol and writes every request completely, in order, with its
// data.
//
// A model tracks what is left of the request and the bursts in flight. Each burst on the bus must
// be the next part of the request; its beats follow each other without a gap, the last one marked;
// vectors leave in the order in which they came (one is marked and followed); each answer is
// accepted at once and counted. The memory answers a burst when it has its address and all of its
// beats.
module prove_axi_write #(
  parameter int unsigned Room           = 4,
  parameter int unsigned MaxBurst       = 4,
  parameter int unsigned MaxOutstanding = 4
) (
  input logic         clk_i,
  input logic         rst_ni,
  input logic         stop_i,
  input logic         req_valid_i,
  input logic [ 31:0] req_address_i,
  input logic [ 15:0] req_beats_i,
  input logic         req_last_i,
  input logic         word_valid_i,
  input logic [127:0] word_i,
  input logic         mark_i,
  input logic         m_axi_awready_i,
  input logic         m_axi_wready_i,
  input logic         m_axi_bvalid_i,
  input logic [  1:0] m_axi_bresp_i
);
  logic req_ready, word_left, done, error, idle, moved, acknowledged;
  logic [31:0] error_address, m_axi_awaddr;
  logic m_axi_awvalid, m_axi_wvalid, m_axi_wlast, m_axi_bready;
  logic [7:0] m_axi_awlen;
  logic [63:0] m_axi_wdata;

  npu_axi_write #(
    .Room          (Room),
    .MaxBurst      (MaxBurst),
    .MaxOutstanding(MaxOutstanding)
  ) u_write (
    .clk_i,
    .rst_ni,
    .stop_i,
    .req_valid_i,
    .req_ready_o    (req_ready),
    .req_address_i,
    .req_beats_i,
    .req_last_i,
    .word_valid_i,
    .word_i,
    .word_popped_o  (word_left),
    .done_o         (done),
    .error_o        (error),
    .error_address_o(error_address),
    .idle_o         (idle),
    .moved_o        (moved),
    .acknowledged_o (acknowledged),
    .m_axi_awvalid_o(m_axi_awvalid),
    .m_axi_awready_i,
    .m_axi_awaddr_o (m_axi_awaddr),
    .m_axi_awlen_o  (m_axi_awlen),
    .m_axi_wvalid_o (m_axi_wvalid),
    .m_axi_wready_i,
    .m_axi_wdata_o  (m_axi_wdata),
    .m_axi_wlast_o  (m_axi_wlast),
    .m_axi_bvalid_i,
    .m_axi_bready_o (m_axi_bready),
    .m_axi_bresp_i
  );

  localparam int unsigned WordBits = $clog2(Room);
  localparam int unsigned Bits = $clog2(MaxOutstanding);
  function automatic logic [15:0] lesser(input logic [15:0] a, input logic [15:0] b);
    return a < b ? a : b;
  endfunction

  logic begun_q = 1'b0;
  logic shown, beat, taken;
  assign taken = m_axi_awvalid && m_axi_awready_i;
  assign beat = m_axi_wvalid && m_axi_wready_i;

  // The request; a burst appears on the bus one cycle after it was cut off.
  logic accept_q, accept_last_q, active_q, active, last_q, last;
  logic [31:0] accept_address_q, address_q, address;
  logic [15:0] accept_beats_q, left_q, left;
  logic [9:0] beats;
  assign beats = 10'(m_axi_awlen) + 10'd1;

  // The bus in the previous cycle.
  logic aw_q, aw_ready_q, w_q, w_ready_q, w_last_q, stop_q;
  logic [31:0] awaddr_q;
  logic [7:0] awlen_q;
  logic [63:0] wdata_q;
  assign shown = m_axi_awvalid && (!aw_q || aw_ready_q);

  always_comb begin
    active = active_q;
    address = address_q;
    left = left_q;
    last = last_q;
    if (shown) begin
      address = address_q + {19'b0, beats, 3'b0};
      left = left_q - 16'(beats);
      if (left_q == 16'(beats)) active = 1'b0;
    end
    if (accept_q) begin
      active = 1'b1;
      address = accept_address_q;
      left = accept_beats_q;
      last = accept_last_q;
    end
    if (stop_q) active = 1'b0;
  end

  // Bursts without an answer; those whose address, and those whose beats, the memory has.
  logic [Bits:0] open_q, open, addressed_q, written_q;
  logic [MaxOutstanding:0] ends_q;
  logic [MaxOutstanding:0][31:0] start_q;
  logic ends;
  logic [31:0] start;
  assign open = open_q + (Bits + 1)'(shown);
  assign ends = ends_q[0];
  assign start = start_q[0];
  // Beats to come of the burst that is being written.
  logic [9:0] beats_left_q, beats_left;
  assign beats_left = shown ? beats : beats_left_q;

  // Vectors in the buffer; those ahead of the marked one.
  logic [WordBits:0] level_q, ahead_q;
  logic marked_q, half_q;
  logic [127:0] word_q;

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    aw_q <= m_axi_awvalid;
    aw_ready_q <= m_axi_awready_i;
    awaddr_q <= m_axi_awaddr;
    awlen_q <= m_axi_awlen;
    w_q <= m_axi_wvalid;
    w_ready_q <= m_axi_wready_i;
    w_last_q <= m_axi_wlast;
    wdata_q <= m_axi_wdata;
    stop_q <= stop_i;
    accept_q <= req_valid_i && req_ready;
    accept_address_q <= req_address_i;
    accept_beats_q <= req_beats_i;
    accept_last_q <= req_last_i;
    active_q <= active;
    address_q <= address;
    left_q <= left;
    last_q <= last;

    if (acknowledged) begin
      for (int i = 0; i < MaxOutstanding; i++) begin
        ends_q[i] <= ends_q[i+1];
        start_q[i] <= start_q[i+1];
      end
    end
    if (shown) begin
      ends_q[open_q-(Bits+1)'(acknowledged)] <= last_q && left_q == 16'(beats);
      start_q[open_q-(Bits+1)'(acknowledged)] <= m_axi_awaddr;
    end
    open_q <= open - (Bits + 1)'(acknowledged);
    addressed_q <= addressed_q + (Bits + 1)'(taken) - (Bits + 1)'(acknowledged);
    written_q <= written_q + (Bits + 1)'(beat && m_axi_wlast) - (Bits + 1)'(acknowledged);
    beats_left_q <= beats_left - 10'(beat);

    if (beat) half_q <= !half_q;
    level_q <= level_q + (WordBits + 1)'(word_valid_i) - (WordBits + 1)'(word_left);
    if (marked_q && word_left) begin
      ahead_q <= ahead_q - 1'b1;
      if (ahead_q == '0) marked_q <= 1'b0;
    end
    if (!marked_q && mark_i && word_valid_i) begin
      marked_q <= 1'b1;
      word_q <= word_i;
      ahead_q <= level_q - (WordBits + 1)'(word_left);
    end
    if (!rst_ni) begin
      aw_q <= 1'b0;
      w_q <= 1'b0;
      accept_q <= 1'b0;
      active_q <= 1'b0;
      open_q <= '0;
      addressed_q <= '0;
      written_q <= '0;
      beats_left_q <= '0;
      half_q <= 1'b0;
      level_q <= '0;
      marked_q <= 1'b0;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    if (req_valid_i) begin
      assume (req_beats_i != '0 && req_address_i[2:0] == '0);
      assume (33'(req_address_i) + {14'b0, req_beats_i, 3'b0} <= 33'h1_0000_0000);
    end
    // The sender counts the free entries.
    if (level_q == (WordBits + 1)'(Room)) assume (!word_valid_i);
    // The memory answers bursts that it has.
    if (addressed_q == '0 || written_q == '0) assume (!m_axi_bvalid_i);
    if (stop_q && rst_ni) assume (stop_i);
  end

  always_comb begin
    if (begun_q) begin
      // An address stays on offer, unchanged, until it is accepted; so does a beat.
      if (aw_q && !aw_ready_q)
        assert (m_axi_awvalid && m_axi_awaddr == awaddr_q && m_axi_awlen == awlen_q);
      if (w_q && !w_ready_q)
        assert (m_axi_wvalid && m_axi_wdata == wdata_q && m_axi_wlast == w_last_q);
      // A burst's address is stable until its last beat has been accepted (npu_axi_width relies on
      // it).
      if (beats_left_q != '0) assert (m_axi_awaddr == awaddr_q && m_axi_awlen == awlen_q);
      if (m_axi_awvalid) assert (13'(m_axi_awaddr[11:0]) + {beats, 3'b0} <= 13'd4096);
      // Each burst is the next part of the request and no longer than it; one at a time is written.
      if (shown) begin
        assert (active_q && !stop_q && beats_left_q == '0);
        assert (m_axi_awaddr == address_q && 16'(beats) <= left_q && 32'(beats) <= MaxBurst);
      end
      // Its beats come without a gap, as many as it announced, the last one marked, all bytes
      // valid; a stop does not truncate it.
      assert (m_axi_wvalid == (beats_left != '0));
      if (m_axi_wvalid) assert (m_axi_wlast == (beats_left == 10'd1));
      // Vectors leave in order, the low half first.
      assert (level_q <= (WordBits + 1)'(Room));
      if (marked_q && ahead_q == '0 && m_axi_wvalid)
        assert (m_axi_wdata == (half_q ? word_q[127:64] : word_q[63:0]));
      assert (word_left == (beat && half_q));
      // Every answer is accepted at once and reported.
      assert (open_q <= (Bits + 1)'(MaxOutstanding));
      if (m_axi_bvalid_i) assert (m_axi_bready);
      assert (acknowledged == m_axi_bvalid_i);
      assert (done == (m_axi_bvalid_i && ends && !m_axi_bresp_i[1] && !stop_i));
      assert (error == (m_axi_bvalid_i && m_axi_bresp_i[1] && !stop_i));
      if (error) assert (error_address == start);
      assert (moved == beat);
      // `idle` says that nothing is left.
      assert (idle == (open == '0 && !active));
    end
  end

  // Invariants between the block's registers and the model's, for the induction.
  logic [WordBits-1:0] place;
  assign place = u_write.u_words.read_q[WordBits-1:0] + ahead_q[WordBits-1:0];
  always_comb begin
    if (begun_q) begin
      assert (u_write.active_q == active && u_write.known_q == (active && !shown));
      if (active) begin
        assert (u_write.address_q == address && u_write.left_q == left && u_write.last_q == last);
        assert (left != '0 && address[2:0] == '0);
        if (u_write.known_q)
          assert (16'(u_write.burst) == lesser(
              lesser(16'(MaxBurst), left), 16'd512 - 16'(address[11:3])
          ));
      end
      assert (u_write.u_outstanding.count_o == open);
      for (int unsigned i = 0; i < MaxOutstanding; i++) begin
        if ((Bits + 1)'(i) < open_q)
          assert (u_write.u_outstanding.mem[u_write.u_outstanding.read_q[Bits-1:0]+Bits'(i)] ==
                  {ends_q[i], start_q[i]});
      end
      if (shown)
        assert (u_write.u_outstanding.mem[u_write.u_outstanding.write_q[Bits-1:0]-1'b1] ==
                {last_q && left_q == 16'(beats), m_axi_awaddr});
      assert (addressed_q == open - (Bits + 1)'(m_axi_awvalid) && addressed_q <= open);
      assert (written_q == open - (Bits + 1)'(beats_left != '0) && written_q <= open);
      assert (u_write.w_left_q == beats_left && u_write.odd_q == half_q);
      // The beats of the burst are in the buffer.
      assert (12'(beats_left) + 12'(half_q) <= 12'({level_q, 1'b0}));
      assert (u_write.u_words.count_o == level_q);
      assert (12'(u_write.beats_q) == 12'({level_q, 1'b0}) - 12'(half_q));
      if (marked_q) assert (ahead_q < level_q && u_write.u_words.mem[place] == word_q);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (done && marked_q && ahead_q == '0 && half_q);
      cover (open_q == (Bits + 1)'(MaxOutstanding));
      cover (shown && m_axi_awaddr[11:0] == '0 && left_q == 16'd3 && !accept_q);
      cover (stop_q && beats_left == 10'd2 && !m_axi_wready_i);
    end
  end
endmodule
