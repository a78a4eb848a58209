// npu_axi_read: obeys the bus protocol and reads every request completely, in order, for its
// client.
//
// A model tracks what is left of each client's request and the bursts in flight. Each burst on the
// bus must be the next part of the request that is being served; each beat must reach the client
// that owns its burst. The memory answers in order; a beat with a wrong RLAST is reported.
module prove_axi_read #(
  parameter int unsigned MaxBurst       = 32,
  parameter int unsigned MaxOutstanding = 4
) (
  input logic              clk_i,
  input logic              rst_ni,
  input logic              stop_i,
  input logic [ 1:0]       req_valid_i,
  input logic [ 1:0][31:0] req_address_i,
  input logic [ 1:0][15:0] req_beats_i,
  input logic [ 1:0]       data_ready_i,
  input logic              m_axi_arready_i,
  input logic              m_axi_rvalid_i,
  input logic [63:0]       m_axi_rdata_i,
  input logic [ 1:0]       m_axi_rresp_i,
  input logic              m_axi_rlast_i
);
  logic [1:0] req_ready, data_valid;
  logic [63:0] data;
  logic error, error_client, idle, moved, m_axi_arvalid, m_axi_rready;
  logic [31:0] error_address, m_axi_araddr;
  logic [7:0] m_axi_arlen;

  npu_axi_read #(
    .MaxBurst      (MaxBurst),
    .MaxOutstanding(MaxOutstanding)
  ) u_read (
    .clk_i,
    .rst_ni,
    .stop_i,
    .req_valid_i,
    .req_ready_o    (req_ready),
    .req_address_i,
    .req_beats_i,
    .data_valid_o   (data_valid),
    .data_ready_i,
    .data_o         (data),
    .error_o        (error),
    .error_client_o (error_client),
    .error_address_o(error_address),
    .idle_o         (idle),
    .moved_o        (moved),
    .m_axi_arvalid_o(m_axi_arvalid),
    .m_axi_arready_i,
    .m_axi_araddr_o (m_axi_araddr),
    .m_axi_arlen_o  (m_axi_arlen),
    .m_axi_rvalid_i,
    .m_axi_rready_o (m_axi_rready),
    .m_axi_rdata_i,
    .m_axi_rresp_i,
    .m_axi_rlast_i
  );

  function automatic logic [15:0] lesser(input logic [15:0] a, input logic [15:0] b);
    return a < b ? a : b;
  endfunction

  logic begun_q = 1'b0;
  logic wrong_last;
  logic shown, taken, beat;
  assign taken = m_axi_arvalid && m_axi_arready_i;
  assign beat = m_axi_rvalid_i && m_axi_rready;

  // What is left of the requests. A burst appears on the bus one cycle after it was cut off, so
  // requests are also counted one cycle late.
  logic [1:0] accept_q, active_q;
  logic [1:0][31:0] accept_address_q, address_q;
  logic [1:0][15:0] accept_beats_q, left_q;
  logic [1:0] active;
  logic [1:0][31:0] address;
  logic [1:0][15:0] left;
  logic client;
  logic [9:0] beats;
  assign client = !active_q[0];
  assign beats = 10'(m_axi_arlen) + 10'd1;

  // The bus in the previous cycle.
  logic valid_q, ready_q, stop_q, rst_q, room_q, shown_q;
  logic [31:0] araddr_q;
  logic [7:0] arlen_q;
  assign shown = m_axi_arvalid && (!valid_q || ready_q);

  // Bursts whose beats have not all arrived: shown, and of those accepted by the memory.
  localparam int unsigned Bits = $clog2(MaxOutstanding);
  localparam int unsigned BurstBits = $clog2(MaxBurst) + 1;
  logic [Bits:0] open_q, asked_q;
  logic [MaxOutstanding:0] owner_q;
  logic [MaxOutstanding:0][31:0] start_q;
  logic [MaxOutstanding:0][7:0] length_q;
  logic [7:0] beat_q;

  // A burst that appears in this cycle counts at once.
  logic [Bits:0] open;
  assign open = open_q + (Bits + 1)'(shown);
  logic owner;
  logic [31:0] start;
  logic [7:0] length;
  assign owner = open_q == '0 ? client : owner_q[0];
  assign start = open_q == '0 ? m_axi_araddr : start_q[0];
  assign length = open_q == '0 ? m_axi_arlen : length_q[0];

  // The requests including what this cycle shows; an accepted one counts from the next cycle on.
  always_comb begin
    active = active_q;
    address = address_q;
    left = left_q;
    for (int c = 0; c < 2; c++) begin
      if (shown && client == c[0]) begin
        address[c] = address_q[c] + {19'b0, beats, 3'b0};
        left[c] = left_q[c] - 16'(beats);
        if (left_q[c] == 16'(beats)) active[c] = 1'b0;
      end
      if (accept_q[c]) begin
        active[c] = 1'b1;
        address[c] = accept_address_q[c];
        left[c] = accept_beats_q[c];
      end
    end
    if (stop_q) active = '0;
  end

  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    valid_q <= m_axi_arvalid;
    ready_q <= m_axi_arready_i;
    shown_q <= shown;
    araddr_q <= m_axi_araddr;
    arlen_q <= m_axi_arlen;
    stop_q <= stop_i;
    rst_q <= !rst_ni;
    room_q <= open < (Bits + 1)'(MaxOutstanding);
    accept_q <= stop_i ? 2'b00 : req_valid_i & req_ready;
    accept_address_q <= req_address_i;
    accept_beats_q <= req_beats_i;
    active_q <= active;
    address_q <= address;
    left_q <= left;

    if (beat && m_axi_rlast_i) begin
      for (int i = 0; i < MaxOutstanding; i++) begin
        owner_q[i] <= owner_q[i+1];
        start_q[i] <= start_q[i+1];
        length_q[i] <= length_q[i+1];
      end
    end
    if (shown) begin
      owner_q[open_q-(Bits+1)'(beat&&m_axi_rlast_i)] <= client;
      start_q[open_q-(Bits+1)'(beat&&m_axi_rlast_i)] <= m_axi_araddr;
      length_q[open_q-(Bits+1)'(beat&&m_axi_rlast_i)] <= m_axi_arlen;
    end
    if (beat) beat_q <= m_axi_rlast_i ? '0 : beat_q + 1'b1;
    open_q <= open - (Bits + 1)'(beat && m_axi_rlast_i);
    asked_q <= asked_q + (Bits + 1)'(taken) - (Bits + 1)'(beat && m_axi_rlast_i);
    if (!rst_ni) begin
      valid_q <= 1'b0;
      accept_q <= '0;
      active_q <= '0;
      open_q <= '0;
      asked_q <= '0;
      beat_q <= '0;
    end
  end

  always_comb begin
    wrong_last = 1'b0;
    if (!begun_q) assume (!rst_ni);
    // Clients request whole beats below 4 GiB.
    for (int c = 0; c < 2; c++) begin
      if (req_valid_i[c]) begin
        assume (req_beats_i[c] != '0 && req_address_i[c][2:0] == '0);
        assume (33'(req_address_i[c]) + {14'b0, req_beats_i[c], 3'b0} <= 33'h1_0000_0000);
      end
    end
    // The memory answers open bursts only, each up to its RLAST, early or late. A stop ends with a
    // reset.
    if (asked_q == '0) assume (!m_axi_rvalid_i);
    if (stop_q && !rst_q) assume (stop_i);

    if (begun_q) begin
      // A burst stays on offer, unchanged, until it is accepted.
      if (valid_q && !ready_q)
        assert (m_axi_arvalid && m_axi_araddr == araddr_q && m_axi_arlen == arlen_q);
      if (m_axi_arvalid) assert (13'(m_axi_araddr[11:0]) + {beats, 3'b0} <= 13'd4096);
      // Each burst is the next part of the request that is being served, and no longer than it.
      if (shown) begin
        assert (active_q != '0 && !stop_q);
        assert (m_axi_araddr == address_q[client] && 16'(beats) <= left_q[client]);
        assert (32'(beats) <= MaxBurst);
      end
      assert (open <= (Bits + 1)'(MaxOutstanding));
      // Beats reach their owner unless a stop drops them; then none is refused.
      assert (data_valid == (m_axi_rvalid_i && !stop_i ? 2'b01 << owner : 2'b00));
      if (data_valid != '0) assert (data == m_axi_rdata_i);
      if (m_axi_rvalid_i) assert (m_axi_rready == (stop_i || data_ready_i[owner]));
      wrong_last = m_axi_rlast_i != (beat_q == length);
      assert (error == (beat && (m_axi_rresp_i[1] || wrong_last) && !stop_i));
      if (error) assert (error_client == owner && error_address == start + {21'b0, beat_q, 3'b0});
      assert (moved == beat);
      // `idle` says that nothing is left.
      assert (idle == (open == '0 && !m_axi_arvalid && active == '0));
      // A request that finds room on the bus advances in every cycle except the one after a burst.
      if ((!valid_q || ready_q) && active_q != '0 && room_q && !stop_q && !shown_q) assert (shown);
    end
  end

  // Invariants between the block's registers and the model's, for the induction.
  localparam int unsigned Slots = MaxOutstanding;
  always_comb begin
    if (begun_q) begin
      assert (u_read.active_q == active && (active_q != '0 || !shown));
      for (int c = 0; c < 2; c++) begin
        assert (u_read.known_q[c] == (active[c] && !(shown && client == 1'(c))));
        if (active[c]) begin
          assert (u_read.address_q[c] == address[c] && u_read.left_q[c] == left[c]);
          assert (left[c] != '0 && address[c][2:0] == '0);
          if (u_read.known_q[c])
            assert (16'(u_read.burst_q[c]) == lesser(
                lesser(16'(MaxBurst), left[c]), 16'd512 - 16'(address[c][11:3])
            ));
        end
      end
      assert (u_read.u_outstanding.count_o == open);
      for (int unsigned i = 0; i < Slots; i++) begin
        if ((Bits + 1)'(i) < open_q) assert (32'(length_q[i]) < MaxBurst);
        if ((Bits + 1)'(i) < open_q)
          assert (u_read.u_outstanding.mem[u_read.u_outstanding.read_q[Bits-1:0]+Bits'(i)] ==
                  {(BurstBits - 1)'(length_q[i]), owner_q[i], start_q[i]});
      end
      if (shown)
        assert (u_read.u_outstanding.mem[u_read.u_outstanding.write_q[Bits-1:0]-1'b1] ==
                {(BurstBits - 1)'(m_axi_arlen), client, m_axi_araddr});
      assert (asked_q == open - (Bits + 1)'(m_axi_arvalid) && asked_q <= open);
      assert (u_read.beats_q == beat_q && (open == '0 || 32'(length) < MaxBurst));
      if (open == '0) assert (beat_q == '0 && !m_axi_arvalid);
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (open_q == (Bits + 1)'(MaxOutstanding) && owner_q[0] != owner_q[1]);
      cover (shown && m_axi_araddr[11:0] == '0 && left_q[client] == 16'd3);
      cover (stop_i && idle && rst_ni && !rst_q && valid_q == 1'b0 && beat_q == '0 && stop_q);
    end
  end
endmodule
