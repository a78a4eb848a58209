// AXI4 write master: buffers vectors, splits requests into bursts that do not cross 4 KiB
// boundaries, and issues a burst once all of its data are buffered, so that no burst ever stalls
// half-way.
//
// Units: addresses are bytes, beats are 8 bytes, `word` is a vector of `Lanes` bytes. Burst length:
//    beats = min(beats left of the request, MaxBurst, beats to the 4 KiB boundary)
module npu_axi_write #(
  // Vectors that the buffer holds.
  parameter int unsigned Room           = 32,
  parameter int unsigned MaxBurst       = 32,
  parameter int unsigned MaxOutstanding = 8
) (
  input  logic                        clk_i,
  input  logic                        rst_ni,
  input  logic                        stop_i,
  input  logic                        req_valid_i,
  output logic                        req_ready_o,
  input  logic [                31:0] req_address_i,
  input  logic [                15:0] req_beats_i,
  // The request is the last one of its command.
  input  logic                        req_last_i,
  // Vectors; the sender counts the free entries.
  input  logic                        word_valid_i,
  input  logic [8*npu_pkg::Lanes-1:0] word_i,
  output logic                        word_popped_o,
  // The last byte of a command was acknowledged.
  output logic                        done_o,
  output logic                        error_o,
  output logic [                31:0] error_address_o,
  output logic                        idle_o,
  // A beat was transferred; a burst was acknowledged.
  output logic                        moved_o,
  output logic                        acknowledged_o,
  // AXI4 write channels.
  output logic                        m_axi_awvalid_o,
  input  logic                        m_axi_awready_i,
  output logic [                31:0] m_axi_awaddr_o,
  output logic [                 7:0] m_axi_awlen_o,
  output logic                        m_axi_wvalid_o,
  input  logic                        m_axi_wready_i,
  output logic [                63:0] m_axi_wdata_o,
  output logic                        m_axi_wlast_o,
  input  logic                        m_axi_bvalid_i,
  output logic                        m_axi_bready_o,
  input  logic [                 1:0] m_axi_bresp_i
);
  localparam int unsigned BurstBits = $clog2(MaxBurst) + 1;
  localparam int unsigned CountBits = $clog2(Room) + 1;

  // A vector is one beat or two; two are sent in turn.
  localparam bit Halves = npu_pkg::Lanes == 16;
  logic stored_valid, beat, odd_q;
  logic [8*npu_pkg::Lanes-1:0] stored;
  logic [CountBits:0] beats_q;  // beats in the buffer

  npu_fifo #(
    .Width(8 * npu_pkg::Lanes),
    .Depth(Room)
  ) u_words (
    .clk_i,
    .rst_ni,
    .push_valid_i(word_valid_i),
    .push_ready_o(),
    .push_data_i (word_i),
    .pop_valid_o (stored_valid),
    .pop_ready_i (word_popped_o),
    .pop_data_o  (stored),
    .count_o     ()
  );
  assign word_popped_o = beat && (odd_q || !Halves);
  always_ff @(posedge clk_i) begin
    beats_q <= !rst_ni ? '0 :
        beats_q + (word_valid_i ? (CountBits + 1)'(Halves ? 2 : 1) : '0) - (CountBits + 1)'(beat);
  end

  // The request, and its next burst.
  logic active_q, last_q, issue, last_burst, room;
  logic [31:0] address_q;
  logic [15:0] left_q;
  logic [BurstBits-1:0] burst, w_left_q;

  // Returns the beats of a request's next burst, given its first beat's index within the 4 KiB
  // page. A page is a whole number of longest bursts, so the lower index bits tell how much the
  // page's last burst has left.
  function automatic logic [BurstBits-1:0] next_burst(input logic [8:0] page_beat,
                                                      input logic [15:0] left);
    logic [BurstBits-1:0] to_boundary, longest;
    to_boundary = BurstBits'(MaxBurst);
    if (&page_beat[8:BurstBits-1]) to_boundary -= BurstBits'(page_beat[BurstBits-2:0]);
    longest = left < 16'(MaxBurst) ? left[BurstBits-1:0] : BurstBits'(MaxBurst);
    return to_boundary < longest ? to_boundary : longest;
  endfunction

  // `burst` is computed when the request arrives, or in the cycle after the previous burst.
  // `known_q` says that it is valid.
  logic known_q, accept;
  logic [BurstBits-1:0] burst_of_rest, burst_of_request;
  assign burst_of_rest = next_burst(address_q[11:3], left_q);
  assign burst_of_request = next_burst(req_address_i[11:3], req_beats_i);
  assign accept = req_valid_i && req_ready_o;
  assign last_burst = left_q == 16'(burst);
  assign issue = known_q && beats_q >= (CountBits + 1)'(burst) && w_left_q == '0 &&
      !m_axi_awvalid_o && room && !stop_i;
  assign req_ready_o = !active_q && !stop_i;

  always_ff @(posedge clk_i) begin
    if (!rst_ni || stop_i) active_q <= 1'b0;
    else if (accept) active_q <= 1'b1;
    else if (issue && last_burst) active_q <= 1'b0;
  end

  always_ff @(posedge clk_i) begin
    known_q <= rst_ni && !stop_i && (active_q ? !issue : accept);
    burst <= active_q ? burst_of_rest : burst_of_request;
    if (accept || issue) begin
      // Only the enables depend on whether the values are used.
      address_q <= active_q ? address_q + 32'({burst, 3'b0}) : req_address_i;
      left_q <= active_q ? left_q - 16'(burst) : req_beats_i;
    end
    if (accept) last_q <= req_last_i;
  end

  logic aw_valid_q;
  logic [31:0] aw_address_q;
  logic [7:0] aw_len_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) aw_valid_q <= 1'b0;
    else if (issue) aw_valid_q <= 1'b1;
    else if (m_axi_awready_i) aw_valid_q <= 1'b0;
    if (issue) begin
      aw_address_q <= address_q;
      aw_len_q <= 8'(burst) - 8'd1;
    end
  end
  assign m_axi_awvalid_o = aw_valid_q;
  assign m_axi_awaddr_o = aw_address_q;
  assign m_axi_awlen_o = aw_len_q;

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      w_left_q <= '0;
      odd_q <= 1'b0;
    end else begin
      if (issue) w_left_q <= burst;
      else if (beat) w_left_q <= w_left_q - 1'b1;
      if (beat) odd_q <= Halves && !odd_q;
    end
  end
  assign m_axi_wvalid_o = w_left_q != '0 && stored_valid;
  assign m_axi_wdata_o = odd_q ? stored[8*npu_pkg::Lanes-1-:64] : stored[63:0];
  assign m_axi_wlast_o = w_left_q == BurstBits'(1);
  assign beat = m_axi_wvalid_o && m_axi_wready_i;

  // Bursts without an acknowledgement yet, in order.
  logic owner_valid, owner_last;
  logic [31:0] owner_address;
  npu_fifo #(
    .Width(33),
    .Depth(MaxOutstanding)
  ) u_outstanding (
    .clk_i,
    .rst_ni,
    .push_valid_i(issue),
    .push_ready_o(room),
    .push_data_i ({last_q && last_burst, address_q}),
    .pop_valid_o (owner_valid),
    .pop_ready_i (acknowledged_o),
    .pop_data_o  ({owner_last, owner_address}),
    .count_o     ()
  );

  assign m_axi_bready_o = owner_valid;
  assign acknowledged_o = m_axi_bvalid_i && m_axi_bready_o;
  assign done_o = acknowledged_o && owner_last && !m_axi_bresp_i[1] && !stop_i;
  assign error_o = acknowledged_o && m_axi_bresp_i[1] && !stop_i;
  assign error_address_o = owner_address;
  assign idle_o = !owner_valid && !aw_valid_q && w_left_q == '0 && !active_q;
  assign moved_o = beat;

  // BRESP[0] distinguishes EXOKAY, which counts as OKAY: no exclusive access is ever issued.
  logic unused;
  assign unused = m_axi_bresp_i[0];
endmodule
