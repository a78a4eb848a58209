// npu_prepare: what it finds of a transfer, by shifting and adding, is what the products say: a transfer
// that it lets pass stays within its region and within the banks.
//
// The three products are given from outside. Of a product p of factor f and value v the model knows what
// `product` proves: taking the lowest bit of f off takes v, or nothing, off p and doubles v; where f is
// zero, p is, else p is no less than v.
module prove_prepare (
  input logic               clk,
  input logic               rst,
  input logic               valid,
  input npu_pkg::transfer_t cmd,
  input logic               taken,
  input logic [31:0]        region_bytes,
  // Channels before the last times pitch; channel groups times plane; groups before the first times plane.
  input logic [47:0]        span,
  input logic [31:0]        end_words,
  input logic [npu_pkg::BankAddrBits-1:0] first_words
);
  import npu_pkg::*;

  logic                    done, illegal, outside, contiguous;
  logic [15:0]             span_beats;
  logic [BankAddrBits-1:0] plane_address, ring;

  npu_prepare u_prepare (.*);

  // The transfer in plain numbers: channels before the last, its channel groups, bytes.
  logic        is_map;
  logic [15:0] before_last, groups_before, groups;
  logic [31:0] bytes;
  logic signed [17:0] first_word;
  logic [17:0] ring_place;
  assign is_map        = cmd.opcode == OpLoadMap || cmd.opcode == OpStoreMap;
  assign before_last   = is_map && cmd.count != '0 ? cmd.count - 16'd1 : '0;
  assign groups_before = is_map ? cmd.origin / 16'(Rows) : '0;
  assign groups        = is_map ? 16'((17'(cmd.origin) + 17'(16'(cmd.count - 16'd1))) / 17'(Rows)) + 16'd1 : '0;
  assign first_word    = 18'(cmd.word) - 18'(cmd.w_first);
  assign ring_place    = 18'(cmd.pos_first) + first_word;
  always_comb begin
    case (cmd.opcode)
      OpLoadWeights: begin
        bytes = 32'(cmd.words) * 32'(Rows == 16 ? 16 : 8);
        if (cmd.flags[TransferFlagSparse]) bytes += (32'(cmd.words) + 32'd7) / 32'd8 * 32'd8;
      end
      OpLoadParams: bytes = 32'(cmd.words) * 32'd16;
      OpLoadTable: bytes = 32'd256;
      default: bytes = 32'(cmd.words) * 32'(Lanes);
    endcase
  end

  logic begun_q = 1'b0;
  logic valid_q;
  logic [31:0] region_q;
  npu_pkg::transfer_t cmd_q;
  logic [47:0] span_q;
  logic [31:0] end_q;
  logic [BankAddrBits-1:0] first_q;
  always_ff @(posedge clk) begin
    begun_q  <= 1'b1;
    valid_q  <= valid && !taken && !rst;
    cmd_q    <= cmd;
    region_q <= region_bytes;
    span_q   <= span;
    end_q    <= end_words;
    first_q  <= first_words;
  end

  // The block's state, in its order: Idle, Multiply, Judge, Done.
  logic started, multiplied;
  assign started    = 2'(u_prepare.state_q) != 2'd0;
  assign multiplied = 2'(u_prepare.state_q) >= 2'd2;

  // What is still to come of each product, and its factor and value.
  logic [47:0] span_rest_q, value_q;
  logic [31:0] end_rest_q, plane_q;
  logic [BankAddrBits-1:0] first_rest_q;
  logic [15:0] span_factor_q, end_factor_q, first_factor_q;
  always_ff @(posedge clk) begin
    if (started) begin
      if (span_factor_q[0]) span_rest_q <= span_rest_q - value_q;
      if (end_factor_q[0]) end_rest_q <= end_rest_q - plane_q;
      if (first_factor_q[0]) first_rest_q <= first_rest_q - plane_q[BankAddrBits-1:0];
      value_q        <= value_q << 1;
      plane_q        <= plane_q << 1;
      span_factor_q  <= span_factor_q >> 1;
      end_factor_q   <= end_factor_q >> 1;
      first_factor_q <= first_factor_q >> 1;
    end else begin
      span_rest_q    <= span;
      end_rest_q     <= end_words;
      first_rest_q   <= first_words;
      value_q        <= 48'(cmd.pitch);
      plane_q        <= 32'(cmd.plane);
      span_factor_q  <= before_last;
      end_factor_q   <= groups;
      first_factor_q <= groups_before;
    end
  end

  always_comb begin
    if (!begun_q) assume (rst);
    // A command stays until it is taken, which is when it has been checked.
    if (begun_q && valid_q) assume (valid && cmd == cmd_q && region_bytes == region_q
        && span == span_q && end_words == end_q && first_words == first_q);
    if (taken) assume (done);
    // What products are.
    if (groups != '0) assume (end_words >= 32'(cmd.plane));
    if (started) begin
      if (span_factor_q == '0) assume (span_rest_q == '0);
      if (end_factor_q == '0) assume (end_rest_q == '0);
      if (first_factor_q == '0) assume (first_rest_q == '0);
    end

    if (begun_q) begin
      if (done) begin
        assert (valid);
        // Judged as the plain numbers say.
        assert (outside == (50'(span) + 50'(bytes) + 50'(cmd.address) > 50'(region_bytes)));
        assert (span_beats == 16'((span + 48'(bytes)) / 48'd8));
        assert (contiguous == (!is_map || cmd.count == 16'd1 || 48'(cmd.pitch) == 48'(bytes)));
        if (!illegal) assert (cmd.address[2:0] == '0);
        if (!illegal && is_map) begin
          assert (cmd.count != '0 && cmd.words != '0 && cmd.pitch[3:0] == '0);
          // Words of a channel lie within its plane's ring; planes within the banks.
          assert (first_word >= 0 && first_word + $signed(18'(cmd.words)) <= $signed(18'(cmd.plane)));
          assert (33'(end_words) + 33'(cmd.base) <= 33'(BankWords));
          assert (18'(ring) == (ring_place >= 18'(cmd.plane) ? ring_place - 18'(cmd.plane) : ring_place));
          assert (18'(ring) < 18'(cmd.plane));
          assert (plane_address == first_words + BankAddrBits'(cmd.base));
        end
        if (!illegal && cmd.opcode == OpLoadWeights)
          assert (32'(cmd.base) < WeightWords && cmd.words != '0 && 32'(cmd.words) <= WeightWords);
        if (!illegal && cmd.opcode == OpLoadParams)
          assert (32'(cmd.base) < ParamEntries && cmd.words != '0 && 32'(cmd.words) <= ParamEntries);
      end

      // What the induction needs: part of the sum stands in the block, the rest is to come.
      if (started) begin
        assert (valid);
        assert (u_prepare.span_q + span_rest_q == span && u_prepare.end_q + end_rest_q == end_words);
        assert (u_prepare.first_q + first_rest_q == first_words);
        if (!multiplied) begin
          assert (u_prepare.factor_span_q == span_factor_q && u_prepare.factor_end_q == end_factor_q);
          assert (u_prepare.factor_first_q == first_factor_q);
          assert (u_prepare.pitch_q == value_q && u_prepare.plane_q == plane_q);
        end
        assert (u_prepare.sound_q == (u_prepare.sound && cmd.address[2:0] == '0));
        assert (u_prepare.size_q == u_prepare.size && 32'(u_prepare.size_q) == bytes);
        assert (u_prepare.room_q == 34'({1'b0, region_bytes}) - 34'({1'b0, cmd.address}));
        assert (u_prepare.first_word_q == first_word[16:0]);
        assert (u_prepare.bank_room_q == 18'(BankWords) - 18'({1'b0, cmd.base}));
        assert (u_prepare.pitch_needed_q == 32'(cmd.words) << LaneBits);
      end
      if (multiplied) begin
        assert (span_factor_q == '0 && end_factor_q == '0 && first_factor_q == '0);
        assert (u_prepare.limit_q == u_prepare.room_q - 34'({1'b0, u_prepare.size_q}));
        assert (u_prepare.words_end_q == 18'(u_prepare.first_word_q[15:0]) + 18'(cmd.words));
        assert (u_prepare.ring_q == 17'(cmd.pos_first) + {1'b0, u_prepare.first_word_q[15:0]});
      end
    end
  end

  always_comb begin
    if (begun_q) begin
      cover (done && !illegal && !outside && is_map && cmd.count == 16'd3 && !contiguous);
      cover (done && !illegal && outside);
      cover (done && illegal && is_map && cmd.count == 16'd2);
      cover (done && !illegal && !outside && cmd.opcode == OpLoadWeights);
    end
  end
endmodule
