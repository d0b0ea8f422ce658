import { assert, describe, it } from "@effect/vitest"
import * as Exit from "../../src/cli/Exit.ts"
import type * as PaymentError from "../../src/PaymentError.ts"

const statusOf = (_tag: PaymentError.Reason["_tag"], money: PaymentError.Money = "unspent") =>
  Exit.statusOf({ reason: { _tag }, money })

describe("the exit status", () => {
  it("says who refused: this agent, or the server", () => {
    assert.deepStrictEqual(
      (["BudgetExceeded", "PolicyDenied", "NoPayableOffer", "InsufficientFunds"] as const).map((tag) => statusOf(tag)),
      [3, 3, 3, 3]
    )
    assert.strictEqual(statusOf("PaymentRejected", "held"), 4)
    assert.strictEqual(statusOf("InsufficientFunds", "held"), 3)
  })

  it("is the same for a chain that does not answer as for a server that does not", () => {
    assert.deepStrictEqual([statusOf("ChainError"), statusOf("Unavailable"), statusOf("RateLimited")], [6, 6, 6])
    assert.strictEqual(statusOf("LedgerUnavailable"), 1)
  })

  it("says that money is gone, or may be, whatever the reason", () => {
    assert.deepStrictEqual([statusOf("PaidUndelivered", "spent"), statusOf("LedgerUnavailable", "unknown")], [5, 5])
  })
})
