// npu_cmd_decode: the results of shift and add equal the products of the fields; an accepted
// transfer stays within its region and within the banks.
//
// The three products are inputs of the model. It knows of a product p of factor f and value v only
// what `product` proves: removing the lowest bit of f subtracts v or nothing from p and doubles v;
// where f is zero, p is zero, else p is no less than v.
module prove_cmd_decode (
  input logic                                           clk_i,
  input logic                                           rst_ni,
  input logic                                           valid_i,
  input npu_pkg::transfer_t                             cmd_i,
  input logic                                           taken_i,
  input logic               [                     31:0] region_bytes_i,
  // Channels before the last times pitch; channel groups times plane; groups before the first times
  // plane.
  input logic               [                     47:0] span_i,
  input logic               [                     31:0] end_words_i,
  input logic               [npu_pkg::BankAddrBits-1:0] first_words_i
);
  import npu_pkg::*;

  logic done, illegal, outside, contiguous;
  logic [15:0] span_beats;
  logic [BankAddrBits-1:0] plane_address, ring;

  npu_cmd_decode u_cmd_decode (
    .clk_i,
    .rst_ni,
    .valid_i,
    .cmd_i,
    .taken_i,
    .region_bytes_i,
    .done_o         (done),
    .illegal_o      (illegal),
    .outside_o      (outside),
    .span_beats_o   (span_beats),
    .contiguous_o   (contiguous),
    .plane_address_o(plane_address),
    .ring_o         (ring)
  );

  // The transfer in plain numbers: channels before the last, its channel groups, bytes.
  logic is_map;
  logic [15:0] before_last, groups_before, groups;
  logic [31:0] bytes;
  logic signed [17:0] first_word;
  logic [17:0] ring_place;
  assign is_map = cmd_i.opcode == OpLoadMap || cmd_i.opcode == OpStoreMap;
  assign before_last = is_map && cmd_i.count != '0 ? cmd_i.count - 16'd1 : '0;
  assign groups_before = is_map ? cmd_i.origin / 16'(Rows) : '0;
  assign groups = is_map ?
      16'((17'(cmd_i.origin) + 17'(16'(cmd_i.count - 16'd1))) / 17'(Rows)) + 16'd1 : '0;
  assign first_word = 18'(cmd_i.word) - 18'(cmd_i.w_first);
  assign ring_place = 18'(cmd_i.pos_first) + first_word;
  always_comb begin
    case (cmd_i.opcode)
      OpLoadWeights: begin
        bytes = 32'(cmd_i.words) * 32'(Rows == 16 ? 16 : 8);
        if (cmd_i.flags[TransferFlagSparse]) bytes += (32'(cmd_i.words) + 32'd7) / 32'd8 * 32'd8;
      end
      OpLoadParams: bytes = 32'(cmd_i.words) * 32'd16;
      OpLoadTable: bytes = 32'd256;
      default: bytes = 32'(cmd_i.words) * 32'(Lanes);
    endcase
  end

  logic begun_q = 1'b0;
  logic valid_q;
  logic [31:0] region_q;
  npu_pkg::transfer_t cmd_q;
  logic [47:0] span_q;
  logic [31:0] end_q;
  logic [BankAddrBits-1:0] first_q;
  always_ff @(posedge clk_i) begin
    begun_q <= 1'b1;
    valid_q <= valid_i && !taken_i && rst_ni;
    cmd_q <= cmd_i;
    region_q <= region_bytes_i;
    span_q <= span_i;
    end_q <= end_words_i;
    first_q <= first_words_i;
  end

  // The block's states, in its order: Idle, Multiply, Judge, Done.
  logic started, multiplied;
  assign started = 2'(u_cmd_decode.state_q) != 2'd0;
  assign multiplied = 2'(u_cmd_decode.state_q) >= 2'd2;

  // The part of each product that is still to come, and its factor and value.
  logic [47:0] span_rest_q, value_q;
  logic [31:0] end_rest_q, plane_q;
  logic [BankAddrBits-1:0] first_rest_q;
  logic [15:0] span_factor_q, end_factor_q, first_factor_q;
  always_ff @(posedge clk_i) begin
    if (started) begin
      if (span_factor_q[0]) span_rest_q <= span_rest_q - value_q;
      if (end_factor_q[0]) end_rest_q <= end_rest_q - plane_q;
      if (first_factor_q[0]) first_rest_q <= first_rest_q - plane_q[BankAddrBits-1:0];
      value_q <= value_q << 1;
      plane_q <= plane_q << 1;
      span_factor_q <= span_factor_q >> 1;
      end_factor_q <= end_factor_q >> 1;
      first_factor_q <= first_factor_q >> 1;
    end else begin
      span_rest_q <= span_i;
      end_rest_q <= end_words_i;
      first_rest_q <= first_words_i;
      value_q <= 48'(cmd_i.pitch);
      plane_q <= 32'(cmd_i.plane);
      span_factor_q <= before_last;
      end_factor_q <= groups;
      first_factor_q <= groups_before;
    end
  end

  always_comb begin
    if (!begun_q) assume (!rst_ni);
    // A command stays until it is taken, which happens after its check.
    if (begun_q && valid_q)
      assume (valid_i && cmd_i == cmd_q && region_bytes_i == region_q && span_i == span_q &&
              end_words_i == end_q && first_words_i == first_q);
    if (taken_i) assume (done);
    // Properties of products.
    if (groups != '0) assume (end_words_i >= 32'(cmd_i.plane));
    if (started) begin
      if (span_factor_q == '0) assume (span_rest_q == '0);
      if (end_factor_q == '0) assume (end_rest_q == '0);
      if (first_factor_q == '0) assume (first_rest_q == '0);
    end

    if (begun_q) begin
      if (done) begin
        assert (valid_i);
        // The verdict follows from the plain numbers.
        assert (outside == (50'(span_i) + 50'(bytes) + 50'(cmd_i.address) > 50'(region_bytes_i)));
        assert (span_beats == 16'((span_i + 48'(bytes)) / 48'd8));
        assert (contiguous == (!is_map || cmd_i.count == 16'd1 || 48'(cmd_i.pitch) == 48'(bytes)));
        if (!illegal) assert (cmd_i.address[2:0] == '0);
        if (!illegal && is_map) begin
          assert (cmd_i.count != '0 && cmd_i.words != '0 && cmd_i.pitch[3:0] == '0);
          // A channel's vectors are within its plane's ring, and the planes within the banks.
          assert (first_word >= 0 && first_word + $signed(
              18'(cmd_i.words)
          ) <= $signed(
              18'(cmd_i.plane)
          ));
          assert (33'(end_words_i) + 33'(cmd_i.base) <= 33'(BankWords));
          assert (18'(ring) ==
                  (ring_place >= 18'(cmd_i.plane) ? ring_place - 18'(cmd_i.plane) : ring_place));
          assert (18'(ring) < 18'(cmd_i.plane));
          assert (plane_address == first_words_i + BankAddrBits'(cmd_i.base));
        end
        if (!illegal && cmd_i.opcode == OpLoadWeights)
          assert (32'(cmd_i.base) < WeightWords && cmd_i.words != '0 &&
                  32'(cmd_i.words) <= WeightWords);
        if (!illegal && cmd_i.opcode == OpLoadParams)
          assert (32'(cmd_i.base) < ParamEntries && cmd_i.words != '0 &&
                  32'(cmd_i.words) <= ParamEntries);
      end

      // Invariants for the induction: a part of each sum is in the block, the rest is still to
      // come.
      if (started) begin
        assert (valid_i);
        assert (u_cmd_decode.span_q + span_rest_q == span_i &&
                u_cmd_decode.end_q + end_rest_q == end_words_i);
        assert (u_cmd_decode.first_q + first_rest_q == first_words_i);
        if (!multiplied) begin
          assert (u_cmd_decode.factor_span_q == span_factor_q &&
                  u_cmd_decode.factor_end_q == end_factor_q);
          assert (u_cmd_decode.factor_first_q == first_factor_q);
          assert (u_cmd_decode.pitch_q == value_q && u_cmd_decode.plane_q == plane_q);
        end
        assert (u_cmd_decode.sound_q == (u_cmd_decode.sound && cmd_i.address[2:0] == '0));
        assert (u_cmd_decode.size_q == u_cmd_decode.size && 32'(u_cmd_decode.size_q) == bytes);
        assert (u_cmd_decode.room_q == 34'({1'b0, region_bytes_i}) - 34'({1'b0, cmd_i.address}));
        assert (u_cmd_decode.first_word_q == first_word[16:0]);
        assert (u_cmd_decode.bank_room_q == 18'(BankWords) - 18'({1'b0, cmd_i.base}));
        assert (u_cmd_decode.pitch_needed_q == 32'(cmd_i.words) << LaneBits);
      end
      if (multiplied) begin
        assert (span_factor_q == '0 && end_factor_q == '0 && first_factor_q == '0);
        assert (u_cmd_decode.limit_q == u_cmd_decode.room_q - 34'({1'b0, u_cmd_decode.size_q}));
        assert (u_cmd_decode.words_end_q ==
                18'(u_cmd_decode.first_word_q[15:0]) + 18'(cmd_i.words));
        assert (u_cmd_decode.ring_q ==
                17'(cmd_i.pos_first) + {1'b0, u_cmd_decode.first_word_q[15:0]});
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (done && !illegal && !outside && is_map && cmd_i.count == 16'd3 && !contiguous);
      cover (done && !illegal && outside);
      cover (done && illegal && is_map && cmd_i.count == 16'd2);
      cover (done && !illegal && !outside && cmd_i.opcode == OpLoadWeights);
    end
  end
endmodule
