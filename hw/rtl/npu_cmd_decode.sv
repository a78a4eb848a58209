// Command decode of transfers: checks the oldest LOAD or STORE command against its region and the
// on-chip memories, and computes its first bank address.
//
// Units: bytes for `pitch`, `address` and regions; vectors for `words`, `plane` and bank addresses.
//    span = (count − 1) · pitch + bytes of one channel      must be within the region
//    first = base + (origin / Rows) · plane
//    end = base + ((origin + count − 1) / Rows + 1) · plane      must be within the banks
// The three products are computed by shift and add while the command waits for its turn, which
// takes about log2(count) cycles.
module npu_cmd_decode (
  input  logic                                           clk_i,
  input  logic                                           rst_ni,
  // The oldest command of the queue is valid; it stays until `taken_i`.
  input  logic                                           valid_i,
  input  npu_pkg::transfer_t                             cmd_i,
  input  logic                                           taken_i,
  input  logic               [                     31:0] region_bytes_i,
  output logic                                           done_o,
  output logic                                           illegal_o,
  output logic                                           outside_o,
  // 8-byte beats from the first to the last byte.
  output logic               [                     15:0] span_beats_o,
  // The channels follow each other in memory without gaps.
  output logic                                           contiguous_o,
  // Bank address of the first channel's plane.
  output logic               [npu_pkg::BankAddrBits-1:0] plane_address_o,
  // Position of the first vector in its plane.
  output logic               [npu_pkg::BankAddrBits-1:0] ring_o
);
  localparam int unsigned RowBits = npu_pkg::RowBits;

  logic is_map;
  assign is_map = cmd_i.opcode == npu_pkg::OpLoadMap || cmd_i.opcode == npu_pkg::OpStoreMap;

  // Channel groups before the first channel, and up to the last channel.
  logic [15:0] last_channel;
  logic [16:0] last_row;
  logic [15:0] groups_before, groups;
  assign last_channel = cmd_i.count - 1'b1;
  assign last_row = 17'(cmd_i.origin) + 17'(last_channel);
  assign groups_before = cmd_i.origin >> RowBits;
  assign groups = 16'(last_row >> RowBits) + 1'b1;

  // The three products are computed by shift and add at the same time.
  typedef enum logic [1:0] {
    Idle,
    Multiply,
    Judge,
    Done
  } state_e;
  state_e state_q;
  logic [15:0] factor_span_q, factor_first_q, factor_end_q;
  logic [47:0] pitch_q, span_q;
  logic [31:0] plane_q, end_q;
  logic [npu_pkg::BankAddrBits-1:0] first_q;

  // In parallel, the part of the check that depends on the command alone is computed in two steps,
  // so that the final check is one comparison deep. `size` is the bytes of one channel (of
  // everything, without channels); `limit_q` is what the region has left for the channels before
  // the last one; the rest describes the ring in vectors.
  logic [20:0] size, size_q;
  logic signed [33:0] room_q, limit_q;
  logic signed [16:0] first_word_q;
  logic [17:0] words_end_q;
  logic [16:0] ring_q;
  logic signed [17:0] bank_room_q;
  logic [31:0] pitch_needed_q;

  always_ff @(posedge clk_i) begin
    unique case (state_q)
      Idle: if (valid_i) state_q <= Multiply;
      Multiply: if ((factor_span_q | factor_first_q | factor_end_q) <= 16'd1) state_q <= Judge;
      Judge: state_q <= Done;
      default: ;
    endcase
    if (!rst_ni || taken_i) state_q <= Idle;
  end

  always_ff @(posedge clk_i) begin
    if (state_q == Idle) begin
      factor_span_q <= is_map && cmd_i.count != '0 ? last_channel : '0;
      factor_first_q <= is_map ? groups_before : '0;
      factor_end_q <= is_map ? groups : '0;
      pitch_q <= 48'(cmd_i.pitch);
      plane_q <= 32'(cmd_i.plane);
      span_q <= '0;
      first_q <= '0;
      end_q <= '0;
      size_q <= size;
      room_q <= 34'({1'b0, region_bytes_i}) - 34'({1'b0, cmd_i.address});
      first_word_q <= 17'(cmd_i.word) - 17'(cmd_i.w_first);
      bank_room_q <= 18'(npu_pkg::BankWords) - 18'({1'b0, cmd_i.base});
      pitch_needed_q <= 32'(cmd_i.words) << npu_pkg::LaneBits;
    end
    if (state_q == Multiply) begin
      if (factor_span_q[0]) span_q <= span_q + pitch_q;
      if (factor_first_q[0]) first_q <= first_q + plane_q[npu_pkg::BankAddrBits-1:0];
      if (factor_end_q[0]) end_q <= end_q + plane_q;
      factor_span_q <= factor_span_q >> 1;
      factor_first_q <= factor_first_q >> 1;
      factor_end_q <= factor_end_q >> 1;
      pitch_q <= pitch_q << 1;
      plane_q <= plane_q << 1;
      limit_q <= room_q - 34'({1'b0, size_q});
      words_end_q <= 18'(first_word_q[15:0]) + 18'(cmd_i.words);
      ring_q <= 17'(cmd_i.pos_first) + {1'b0, first_word_q[15:0]};
    end
  end

  // Blocks of eight weight words; each has its control bytes in front.
  logic [13:0] blocks;
  assign blocks = 14'((17'(cmd_i.words) + 17'd7) >> 3);

  always_comb begin
    unique case (cmd_i.opcode)
      npu_pkg::OpLoadWeights: begin
        size = 21'(cmd_i.words) << (npu_pkg::Rows == 16 ? 4 : 3);
        if (cmd_i.flags[npu_pkg::TransferFlagSparse]) size += 21'({blocks, 3'b0});
      end
      npu_pkg::OpLoadParams: size = 21'(cmd_i.words) << 4;
      npu_pkg::OpLoadTable: size = 21'd256;
      default: size = 21'(cmd_i.words) << npu_pkg::LaneBits;
    endcase
  end

  // Checks of the command alone, and whether a feature map's planes fit in the banks.
  logic sound, sound_q, fits, planes_fit, placed;
  always_comb begin
    placed = 1'b0;
    unique case (cmd_i.opcode)
      npu_pkg::OpLoadWeights:
      sound = 32'(cmd_i.base) < npu_pkg::WeightWords && cmd_i.words != '0 &&
          32'(cmd_i.words) <= npu_pkg::WeightWords;
      npu_pkg::OpLoadParams:
      sound = 32'(cmd_i.base) < npu_pkg::ParamEntries && cmd_i.words != '0 &&
          32'(cmd_i.words) <= npu_pkg::ParamEntries;
      npu_pkg::OpLoadTable: sound = 1'b1;
      default: begin
        sound = cmd_i.pitch[3:0] == '0 && cmd_i.count != '0 && cmd_i.words != '0 &&
            cmd_i.pos_first < cmd_i.plane;
        placed = 1'b1;
      end
    endcase
  end
  assign planes_fit = $signed({1'b0, end_q}) <= 33'(bank_room_q);
  assign fits = !first_word_q[16] && words_end_q <= 18'(cmd_i.plane) && planes_fit;
  always_ff @(posedge clk_i) sound_q <= sound && cmd_i.address[2:0] == '0;

  always_ff @(posedge clk_i) begin
    if (state_q == Judge) begin
      illegal_o <= !sound_q || (placed && !fits);
      outside_o <= $signed({1'b0, span_q}) > 49'(limit_q);
      span_beats_o <= 16'((19'(span_q) + 19'(size_q)) >> 3);
      contiguous_o <= !is_map || cmd_i.count == 16'd1 || cmd_i.pitch == pitch_needed_q;
      plane_address_o <= first_q + npu_pkg::BankAddrBits'(cmd_i.base);
      ring_o <=
          npu_pkg::BankAddrBits'(ring_q >= 17'(cmd_i.plane) ? ring_q - 17'(cmd_i.plane) : ring_q);
    end
  end

  assign done_o = state_q == Done;
endmodule
