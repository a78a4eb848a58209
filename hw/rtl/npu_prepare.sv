// Checks a transfer against its region and the on-chip memories, and finds its first bank address.
//
// The products of channel count and pitch, and of channel groups and plane, are formed bit by bit
// while the transfer waits for its turn; small counts take few cycles.
module npu_prepare (
  input  logic                   clk,
  input  logic                   rst,
  // The oldest command of the queue; it stays until `taken`.
  input  logic                   valid,
  input  npu_pkg::transfer_t     cmd,
  input  logic                   taken,
  input  logic [31:0]            region_bytes,
  output logic                   done,
  output logic                   illegal,
  output logic                   outside,
  // Beats of 8 bytes from the first to the last byte.
  output logic [15:0]            span_beats,
  // Channels follow each other without gaps.
  output logic                   contiguous,
  // Bank address of the first channel's plane.
  output logic [npu_pkg::BankAddrBits-1:0] plane_address,
  // Position of the first word in its plane.
  output logic [npu_pkg::BankAddrBits-1:0] ring
);
  localparam int unsigned RowBits = npu_pkg::RowBits;

  logic is_map;
  assign is_map = cmd.opcode == npu_pkg::OpLoadMap || cmd.opcode == npu_pkg::OpStoreMap;

  // Groups of channels before the first, and up to the last.
  logic [15:0] last_channel;
  logic [16:0] last_place;
  logic [15:0] groups_before, groups;
  assign last_channel  = cmd.count - 1'b1;
  assign last_place    = 17'(cmd.origin) + 17'(last_channel);
  assign groups_before = cmd.origin >> RowBits;
  assign groups        = 16'(last_place >> RowBits) + 1'b1;

  // Shift and add, all three at once.
  typedef enum logic [1:0] {Idle, Multiply, Judge, Done} state_e;
  state_e      state_q;
  logic [15:0] factor_span_q, factor_first_q, factor_end_q;
  logic [47:0] pitch_q, span_q;
  logic [31:0] plane_q, end_q;
  logic [npu_pkg::BankAddrBits-1:0] first_q;

  // Beside it, in two steps, what the command alone says, so that judging is one comparison deep:
  // bytes of a channel (or of all, without channels), then those that the region has left for the
  // channels before the last; words and rows of the ring.
  logic [20:0]        size, size_q;
  logic signed [33:0] room_q, limit_q;
  logic signed [16:0] first_word_q;
  logic [17:0]        words_end_q;
  logic [16:0]        ring_q;
  logic signed [17:0] bank_room_q;
  logic [31:0]        pitch_needed_q;

  always_ff @(posedge clk) begin
    unique case (state_q)
      Idle: if (valid) state_q <= Multiply;
      Multiply: if ((factor_span_q | factor_first_q | factor_end_q) <= 16'd1) state_q <= Judge;
      Judge: state_q <= Done;
      default: ;
    endcase
    if (rst || taken) state_q <= Idle;
  end

  always_ff @(posedge clk) begin
    if (state_q == Idle) begin
      factor_span_q  <= is_map && cmd.count != '0 ? last_channel : '0;
      factor_first_q <= is_map ? groups_before : '0;
      factor_end_q   <= is_map ? groups : '0;
      pitch_q        <= 48'(cmd.pitch);
      plane_q        <= 32'(cmd.plane);
      span_q         <= '0;
      first_q        <= '0;
      end_q          <= '0;
      size_q         <= size;
      room_q         <= 34'({1'b0, region_bytes}) - 34'({1'b0, cmd.address});
      first_word_q   <= 17'(cmd.word) - 17'(cmd.w_first);
      bank_room_q    <= 18'(npu_pkg::BankWords) - 18'({1'b0, cmd.base});
      pitch_needed_q <= 32'(cmd.words) << npu_pkg::LaneBits;
    end
    if (state_q == Multiply) begin
      if (factor_span_q[0]) span_q <= span_q + pitch_q;
      if (factor_first_q[0]) first_q <= first_q + plane_q[npu_pkg::BankAddrBits-1:0];
      if (factor_end_q[0]) end_q <= end_q + plane_q;
      factor_span_q  <= factor_span_q >> 1;
      factor_first_q <= factor_first_q >> 1;
      factor_end_q   <= factor_end_q >> 1;
      pitch_q        <= pitch_q << 1;
      plane_q        <= plane_q << 1;
      limit_q        <= room_q - 34'({1'b0, size_q});
      words_end_q    <= 18'(first_word_q[15:0]) + 18'(cmd.words);
      ring_q         <= 17'(cmd.pos_first) + {1'b0, first_word_q[15:0]};
    end
  end

  // Blocks of eight weight words.
  logic [13:0] blocks;
  assign blocks = 14'((17'(cmd.words) + 17'd7) >> 3);

  always_comb begin
    unique case (cmd.opcode)
      npu_pkg::OpLoadWeights: begin
        size = 21'(cmd.words) << (npu_pkg::Rows == 16 ? 4 : 3);
        if (cmd.flags[npu_pkg::TransferFlagSparse]) size += 21'({blocks, 3'b0});
      end
      npu_pkg::OpLoadParams: size = 21'(cmd.words) << 4;
      npu_pkg::OpLoadTable: size = 21'd256;
      default: size = 21'(cmd.words) << npu_pkg::LaneBits;
    endcase
  end

  // Beside that: whether the command alone is sound, and whether a map's planes fit.
  logic sound, sound_q, fits, placed;
  always_comb begin
    placed = 1'b0;
    unique case (cmd.opcode)
      npu_pkg::OpLoadWeights: sound = 32'(cmd.base) < npu_pkg::WeightWords && cmd.words != '0
        && 32'(cmd.words) <= npu_pkg::WeightWords;
      npu_pkg::OpLoadParams: sound = 32'(cmd.base) < npu_pkg::ParamEntries && cmd.words != '0
        && 32'(cmd.words) <= npu_pkg::ParamEntries;
      npu_pkg::OpLoadTable: sound = 1'b1;
      default: begin
        sound = cmd.pitch[3:0] == '0 && cmd.count != '0 && cmd.words != '0 && cmd.pos_first < cmd.plane;
        placed = 1'b1;
      end
    endcase
  end
  assign fits = !first_word_q[16] && words_end_q <= 18'(cmd.plane) && $signed({1'b0, end_q}) <= 33'(bank_room_q);
  always_ff @(posedge clk) sound_q <= sound && cmd.address[2:0] == '0;

  always_ff @(posedge clk) begin
    if (state_q == Judge) begin
      illegal       <= !sound_q || (placed && !fits);
      outside       <= $signed({1'b0, span_q}) > 49'(limit_q);
      span_beats    <= 16'((19'(span_q) + 19'(size_q)) >> 3);
      contiguous    <= !is_map || cmd.count == 16'd1 || cmd.pitch == pitch_needed_q;
      plane_address <= first_q + npu_pkg::BankAddrBits'(cmd.base);
      ring          <= npu_pkg::BankAddrBits'(
          ring_q >= 17'(cmd.plane) ? ring_q - 17'(cmd.plane) : ring_q);
    end
  end

  assign done = state_q == Done;
endmodule
