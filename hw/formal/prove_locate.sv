// npu_locate: a map word lies where the ring says, in its channel's bank and plane; what lies outside the
// ring is the tensor's base. The answer comes three cycles later, whatever is asked in between.
//
// Of the product of channel group and plane the block needs no more bits than an address has, and so no more
// of the plane; `group_words` is the whole product, any number with those bits.
module prove_locate (
  input logic                    clk,
  input npu_core_pkg::place_t    places[2],
  input logic                    side,
  input npu_core_pkg::channel_t  channel,
  input npu_core_pkg::word_t     word,
  input logic [21:0]             group_words
);
  import npu_pkg::*;
  localparam int unsigned GroupBits = 13 - RowBits;

  logic [RowBits-1:0]      bank;
  logic [BankAddrBits-1:0] addr;

  npu_locate u_locate (.*);

  // What was asked: the tensor, its channel's group and bank, and the word counted from the ring's first one.
  typedef struct packed {
    npu_core_pkg::place_t place;
    logic [GroupBits-1:0] group;
    logic [RowBits-1:0]   bank;
    logic signed [20:0]   distance;
    logic                 hit;
    logic [21:0]          group_words;
  } question_t;
  question_t question;
  question_t [3:1] asked_q;
  logic [2:0] begun_q = '0;

  assign question.place       = places[side];
  assign question.group       = channel[12:RowBits];
  assign question.bank        = channel[RowBits-1:0];
  assign question.distance    = 21'(word) - 21'(question.place.w_first);
  assign question.hit         = question.distance >= 0 && question.distance < 21'({1'b0, question.place.plane});
  assign question.group_words = group_words;

  logic signed [GroupBits+BankAddrBits+1:0] product;
  assign product = $signed({1'b0, question.group}) * $signed({1'b0, question.place.plane[BankAddrBits-1:0]});

  always_ff @(posedge clk) begin
    begun_q <= {begun_q[1:0], 1'b1};
    asked_q <= {asked_q[2:1], question};
  end

  // The answer: once round the ring at most.
  question_t at;
  logic [16:0] position;
  logic [BankAddrBits:0] plane;
  assign at = asked_q[3];
  assign position = 17'(at.place.pos_first) + 17'(at.distance);
  assign plane = at.place.plane[BankAddrBits:0];

  always_comb begin
    // What npu_exec_legal lets pass.
    assume (question.place.base < 16'(BankWords) && question.place.plane <= 16'(BankWords));
    assume (question.place.pos_first < question.place.plane);
    assume (group_words[BankAddrBits-1:0] == product[BankAddrBits-1:0]);

    if (begun_q == '1) begin
      assert (bank == at.bank);
      if (!at.hit) assert (addr == BankAddrBits'(at.place.base));
      else
        assert (addr == BankAddrBits'(at.place.base) + BankAddrBits'(at.group_words)
          + BankAddrBits'(position < 17'(at.place.plane) ? position : position - 17'(at.place.plane)));
      // A tensor within the banks: the word lies in the plane of its channel's group.
      if (at.hit && 24'(at.place.base) + 24'(at.group_words) + 24'(plane) <= 24'(BankWords)) begin
        assert (24'(addr) >= 24'(at.place.base) + 24'(at.group_words));
        assert (24'(addr) < 24'(at.place.base) + 24'(at.group_words) + 24'(plane));
      end

      // Round the ring, in the second group, next to what lies outside.
      cover (at.hit && position >= 17'(at.place.plane) && at.group == 1 && !asked_q[2].hit);
    end
  end

  // What the induction needs.
  always_comb begin
    if (begun_q[0]) begin
      assert (u_locate.bank1_q == asked_q[1].bank && u_locate.distance_q == asked_q[1].distance);
      assert (u_locate.base1_q == BankAddrBits'(asked_q[1].place.base) && u_locate.plane_q == asked_q[1].place.plane);
      assert (u_locate.group_q[BankAddrBits-1:0] == asked_q[1].group_words[BankAddrBits-1:0]);
    end
  end
endmodule
