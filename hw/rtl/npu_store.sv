// STORE queue: writes maps from the banks to memory.
//
// The oldest command is checked while the one before it is under way; then its words are read from
// the banks into the write engine's buffer, and their places are told to that engine.
module npu_store #(
  // Words that the write engine buffers.
  parameter int unsigned Room = 32
) (
  input  logic               clk,
  input  logic               rst,
  // Nothing more is taken or requested; words of a command that is under way may still be read.
  input  logic               stop,
  // Oldest command; `cmd_pop` when it is taken.
  input  logic               cmd_valid,
  input  npu_pkg::transfer_t cmd,
  input  logic               cmd_waits,
  output logic               cmd_pop,
  input  logic [31:0]        region_base,
  input  logic [31:0]        region_bytes,
  output logic               illegal,
  output logic               outside,
  output logic               idle,
  // Writes: places, and a word that left the buffer.
  output logic               req_valid,
  input  logic               req_ready,
  output logic [31:0]        req_address,
  output logic [15:0]        req_beats,
  output logic               req_last,
  input  logic               word_left,
  // Map banks.
  output logic                             st_valid,
  input  logic                             st_ready,
  output logic [npu_pkg::RowBits-1:0]      st_bank,
  output logic [npu_pkg::BankAddrBits-1:0] st_addr
);
  localparam int unsigned RoomBits = $clog2(Room) + 1;

  logic checked, unsound, strays, contiguous, work, requesting, reading_q;
  logic [15:0] span_beats;
  logic [npu_pkg::BankAddrBits-1:0] plane_address, ring;

  npu_prepare u_prepare (
    .clk, .rst,
    .valid(cmd_valid), .cmd, .taken(cmd_pop), .region_bytes,
    .done(checked), .illegal(unsound), .outside(strays), .span_beats, .contiguous, .plane_address, .ring
  );

  // Region 0 is read only.
  assign work    = cmd.flags[npu_pkg::TransferFlagWork];
  assign illegal = checked && unsound && !stop;
  assign outside = checked && !unsound && (strays || !work) && !stop;
  assign cmd_pop = checked && !unsound && !strays && work && !cmd_waits && !requesting && !reading_q && !stop;

  npu_segments u_segments (
    .clk, .rst(rst || stop), .start(cmd_pop),
    .cmd, .region_base, .span_beats, .contiguous,
    .valid(requesting), .ready(req_ready), .address(req_address), .beats(req_beats), .last(req_last)
  );
  assign req_valid = requesting && !stop;

  logic step, walk_last;
  logic [RoomBits-1:0] taken_q;
  assign st_valid = reading_q && taken_q != RoomBits'(Room);
  assign step     = st_valid && st_ready;

  npu_walk u_walk (
    .clk, .start(cmd_pop), .cmd, .plane_address, .ring,
    .step, .bank(st_bank), .address(st_addr), .last(walk_last)
  );

  always_ff @(posedge clk) begin
    if (rst) begin
      reading_q <= 1'b0;
      taken_q   <= '0;
    end else begin
      if (cmd_pop) reading_q <= 1'b1;
      else if (step && walk_last) reading_q <= 1'b0;
      taken_q <= taken_q + RoomBits'(step) - RoomBits'(word_left);
    end
  end

  assign idle = !cmd_valid && !requesting && !reading_q;
endmodule
