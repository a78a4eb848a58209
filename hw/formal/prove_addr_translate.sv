// npu_addr_translate: a vector is at its ring position in its channel's bank and plane; a vector
// outside the ring is at the tensor's base. The answer comes three cycles later, whatever is
// requested in between.
//
// The block needs only as many bits of the product channel group × plane as an address has, and as
// many of the plane; `group_words` is the whole product, any number with those bits.
module prove_addr_translate (
  input logic                          clk_i,
  input npu_core_pkg::layout_t         layouts_i    [2],
  input logic                          ctx_i,
  input npu_core_pkg::channel_t        channel_i,
  input npu_core_pkg::word_t           word_i,
  input logic                   [21:0] group_words_i
);
  import npu_pkg::*;
  localparam int unsigned GroupBits = 13 - RowBits;

  logic [RowBits-1:0] bank;
  logic [BankAddrBits-1:0] addr;

  npu_addr_translate u_addr_translate (
    .clk_i,
    .layouts_i,
    .ctx_i,
    .channel_i,
    .word_i,
    .bank_o(bank),
    .addr_o(addr)
  );

  // The request: the tensor, its channel's group and bank, and the vector counted from the ring's
  // first one.
  typedef struct packed {
    npu_core_pkg::layout_t place;
    logic [GroupBits-1:0]  group;
    logic [RowBits-1:0]    bank;
    logic signed [20:0]    distance;
    logic                  hit;
    logic [21:0]           group_words;
  } question_t;
  question_t query;
  question_t [3:1] asked_q;
  logic [2:0] begun_q = '0;

  assign query.place = layouts_i[ctx_i];
  assign query.group = channel_i[12:RowBits];
  assign query.bank = channel_i[RowBits-1:0];
  assign query.distance = 21'(word_i) - 21'(query.place.w_first);
  assign query.hit = query.distance >= 0 && query.distance < 21'({1'b0, query.place.plane});
  assign query.group_words = group_words_i;

  logic signed [GroupBits+BankAddrBits+1:0] product;
  assign product = $signed(
      {1'b0, query.group}
  ) * $signed(
      {1'b0, query.place.plane[BankAddrBits-1:0]}
  );

  always_ff @(posedge clk_i) begin
    begun_q <= {begun_q[1:0], 1'b1};
    asked_q <= {asked_q[2:1], query};
  end

  // The answer wraps around the ring at most once.
  question_t at;
  logic [16:0] position;
  logic [BankAddrBits:0] plane;
  assign at = asked_q[3];
  assign position = 17'(at.place.pos_first) + 17'(at.distance);
  assign plane = at.place.plane[BankAddrBits:0];

  always_comb begin
    // npu_exec_legal accepts these fields.
    assume (query.place.base < 16'(BankWords) && query.place.plane <= 16'(BankWords));
    assume (query.place.pos_first < query.place.plane);
    assume (group_words_i[BankAddrBits-1:0] == product[BankAddrBits-1:0]);

    if (begun_q == '1) begin
      assert (bank == at.bank);
      if (!at.hit)
        assert (addr == BankAddrBits'(at.place.base));
        else
          assert (addr ==
                  BankAddrBits'(at.place.base) + BankAddrBits'(at.group_words) + BankAddrBits
                  '(position < 17'(at.place.plane) ? position : position - 17'(at.place.plane)));
      // For a tensor within the banks the vector is in the plane of its channel's group.
      if (at.hit && 24'(at.place.base) + 24'(at.group_words) + 24'(plane) <= 24'(BankWords)) begin
        assert (24'(addr) >= 24'(at.place.base) + 24'(at.group_words));
        assert (24'(addr) < 24'(at.place.base) + 24'(at.group_words) + 24'(plane));
      end

      // A wrapped vector in the second group, next to a request outside the ring.
      cover (at.hit && position >= 17'(at.place.plane) && at.group == 1 && !asked_q[2].hit);
    end
  end

  // Invariants for the induction.
  always_comb begin
    if (begun_q[0]) begin
      assert (u_addr_translate.bank1_q == asked_q[1].bank &&
              u_addr_translate.distance_q == asked_q[1].distance);
      assert (u_addr_translate.base1_q == BankAddrBits'(asked_q[1].place.base) &&
              u_addr_translate.plane_q == asked_q[1].place.plane);
      assert (u_addr_translate.group_q[BankAddrBits-1:0] ==
              asked_q[1].group_words[BankAddrBits-1:0]);
    end
  end
endmodule
