// AXI4 write master: buffers words, splits requests into bursts that respect 4 KiB boundaries, and
// issues a burst once all its data are there, so that none is ever left half written.
module npu_axi_write #(
  // Map words that are buffered.
  parameter int unsigned Room = 32,
  parameter int unsigned MaxBurst = 32,
  parameter int unsigned MaxOutstanding = 8
) (
  input  logic         clk,
  input  logic         rst,
  input  logic         stop,
  input  logic         req_valid,
  output logic         req_ready,
  input  logic [31:0]  req_address,
  input  logic [15:0]  req_beats,
  // The request is the last of its command.
  input  logic         req_last,
  // Words; the sender keeps count of the room.
  input  logic         word_valid,
  input  logic [8*npu_pkg::Lanes-1:0] word,
  output logic         word_left,
  // The last byte of a command has been written.
  output logic         done,
  output logic         error,
  output logic [31:0]  error_address,
  output logic         idle,
  // A beat was taken, or a burst acknowledged.
  output logic         moved,
  output logic         acknowledged,
  // AXI4
  output logic         m_axi_awvalid,
  input  logic         m_axi_awready,
  output logic [31:0]  m_axi_awaddr,
  output logic [7:0]   m_axi_awlen,
  output logic         m_axi_wvalid,
  input  logic         m_axi_wready,
  output logic [63:0]  m_axi_wdata,
  output logic         m_axi_wlast,
  input  logic         m_axi_bvalid,
  output logic         m_axi_bready,
  input  logic [1:0]   m_axi_bresp
);
  localparam int unsigned BurstBits = $clog2(MaxBurst) + 1;
  localparam int unsigned CountBits = $clog2(Room) + 1;

  // Words of one beat, or of two that are handed on in turn.
  localparam bit Halves = npu_pkg::Lanes == 16;
  logic                 stored_valid, beat, odd_q;
  logic [8*npu_pkg::Lanes-1:0] stored;
  logic [CountBits:0]   beats_q;  // in the buffer

  npu_fifo #(.Width(8 * npu_pkg::Lanes), .Depth(Room)) u_words (
    .clk, .rst,
    .push_valid(word_valid), .push_ready(), .push_data(word),
    .pop_valid(stored_valid), .pop_ready(word_left), .pop_data(stored),
    .count()
  );
  assign word_left    = beat && (odd_q || !Halves);
  always_ff @(posedge clk) begin
    beats_q <= rst ? '0 : beats_q + (word_valid ? (CountBits + 1)'(Halves ? 2 : 1) : '0) - (CountBits + 1)'(beat);
  end

  // The request, and the burst that is next.
  logic                 active_q, last_q, issue, last_burst, room;
  logic [31:0]          address_q;
  logic [15:0]          left_q;
  logic [BurstBits-1:0] burst, w_left_q;

  // Beats of a request's next burst, from the beat within the page where it begins. A page is a whole number of
  // the longest bursts, so what its last one leaves is known from the lower bits.
  function automatic logic [BurstBits-1:0] next_burst(input logic [8:0] place, input logic [15:0] left);
    logic [BurstBits-1:0] to_boundary, longest;
    to_boundary = BurstBits'(MaxBurst);
    if (&place[8:BurstBits-1]) to_boundary -= BurstBits'(place[BurstBits-2:0]);
    longest = left < 16'(MaxBurst) ? left[BurstBits-1:0] : BurstBits'(MaxBurst);
    return to_boundary < longest ? to_boundary : longest;
  endfunction

  // `burst` is worked out as the request comes, or in the cycle after the burst before: known then.
  logic known_q, accept;
  assign accept     = req_valid && req_ready;
  assign last_burst = left_q == 16'(burst);
  assign issue = known_q && beats_q >= (CountBits + 1)'(burst) && w_left_q == '0
    && !m_axi_awvalid && room && !stop;
  assign req_ready = !active_q && !stop;

  always_ff @(posedge clk) begin
    if (rst || stop) active_q <= 1'b0;
    else if (accept) active_q <= 1'b1;
    else if (issue && last_burst) active_q <= 1'b0;
  end

  always_ff @(posedge clk) begin
    known_q <= !rst && !stop && (active_q ? !issue : accept);
    burst   <= active_q ? next_burst(address_q[11:3], left_q) : next_burst(req_address[11:3], req_beats);
    if (accept || issue) begin
      // Whether anything is taken over is for enables alone.
      address_q <= active_q ? address_q + 32'({burst, 3'b0}) : req_address;
      left_q    <= active_q ? left_q - 16'(burst) : req_beats;
    end
    if (accept) last_q <= req_last;
  end

  logic        aw_valid_q;
  logic [31:0] aw_address_q;
  logic [7:0]  aw_len_q;
  always_ff @(posedge clk) begin
    if (rst) aw_valid_q <= 1'b0;
    else if (issue) aw_valid_q <= 1'b1;
    else if (m_axi_awready) aw_valid_q <= 1'b0;
    if (issue) begin
      aw_address_q <= address_q;
      aw_len_q     <= 8'(burst) - 8'd1;
    end
  end
  assign m_axi_awvalid = aw_valid_q;
  assign m_axi_awaddr  = aw_address_q;
  assign m_axi_awlen   = aw_len_q;

  always_ff @(posedge clk) begin
    if (rst) begin
      w_left_q <= '0;
      odd_q    <= 1'b0;
    end else begin
      if (issue) w_left_q <= burst;
      else if (beat) w_left_q <= w_left_q - 1'b1;
      if (beat) odd_q <= Halves && !odd_q;
    end
  end
  assign m_axi_wvalid = w_left_q != '0 && stored_valid;
  assign m_axi_wdata  = odd_q ? stored[8*npu_pkg::Lanes-1-:64] : stored[63:0];
  assign m_axi_wlast  = w_left_q == BurstBits'(1);
  assign beat         = m_axi_wvalid && m_axi_wready;

  // Bursts that are not yet acknowledged, in order.
  logic        owner_valid, owner_last;
  logic [31:0] owner_address;
  npu_fifo #(.Width(33), .Depth(MaxOutstanding)) u_outstanding (
    .clk, .rst,
    .push_valid(issue), .push_ready(room), .push_data({last_q && last_burst, address_q}),
    .pop_valid(owner_valid), .pop_ready(acknowledged), .pop_data({owner_last, owner_address}),
    .count()
  );

  assign m_axi_bready  = owner_valid;
  assign acknowledged  = m_axi_bvalid && m_axi_bready;
  assign done          = acknowledged && owner_last && !m_axi_bresp[1] && !stop;
  assign error         = acknowledged && m_axi_bresp[1] && !stop;
  assign error_address = owner_address;
  assign idle          = !owner_valid && !aw_valid_q && w_left_q == '0 && !active_q;
  assign moved         = beat;

  // The response's lower bit tells exclusive accesses, which there are none of.
  logic unused;
  assign unused = m_axi_bresp[0];
endmodule
