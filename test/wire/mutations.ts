/**
 * Real messages, and how they go wrong: random, and the same at every run.
 */
import * as Redacted from "effect/Redacted"
import type * as Schema from "effect/Schema"
import type { Hex } from "viem"
import * as Json from "../../src/wire/Json.ts"
import * as AcceptPayment from "../../src/wire/mpp/AcceptPayment.ts"
import * as Challenge from "../../src/wire/mpp/Challenge.ts"
import * as Credential from "../../src/wire/mpp/Credential.ts"
import * as PaymentRequest from "../../src/wire/mpp/PaymentRequest.ts"
import * as Problem from "../../src/wire/mpp/Problem.ts"
import * as Receipt from "../../src/wire/mpp/Receipt.ts"
import * as SeedChallenge from "../../src/wire/mpp/SeedChallenge.ts"
import { bodyV1, entryV1, entryV2, headerV2, jsonV2 } from "./x402/fixtures.ts"

/** Mulberry32: small, and good enough to get everywhere. */
export class Dice {
  private state: number

  constructor(seed: number) {
    this.state = seed
  }

  /** Between 0 and 1. */
  roll(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below(limit: number): number {
    return Math.floor(this.roll() * limit)
  }

  pick<A>(choices: readonly [A, ...ReadonlyArray<A>]): A
  pick<A>(choices: ReadonlyArray<A>): A | undefined
  pick<A>(choices: ReadonlyArray<A>): A | undefined {
    return choices[this.below(choices.length)]
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// Real messages
// ---------------------------------------------------------------------------------------------------------------------

const pathUsd = "0x20c0000000000000000000000000000000000000"
const recipient = "0x742d35Cc6634C0532925a3b844Bc9e7595f8fE00"
const memo = `0x${"ab".repeat(32)}`

export const tempoRequest: Schema.JsonObject = {
  amount: "1000000",
  currency: pathUsd,
  recipient,
  externalId: "order_1",
  description: "a report",
  methodDetails: {
    chainId: 42431,
    feePayer: true,
    memo,
    supportedModes: ["pull", "push"],
    splits: [{ amount: "1", recipient, memo }, { amount: "2", recipient }]
  }
}

const channel = {
  payer: recipient,
  payee: recipient,
  operator: pathUsd,
  token: pathUsd,
  salt: memo,
  authorizedSigner: recipient,
  expiringNonceHash: memo
}

const escrow = "0x4d50500000000000000000000000000000000000"

export const snapshot: Schema.JsonObject = {
  channelId: memo,
  chainId: 42431,
  escrow,
  descriptor: channel,
  deposit: "500000",
  settled: "0",
  acceptedCumulative: "250000",
  requiredCumulative: "250025",
  spent: "250000",
  units: 7,
  highestVoucher: { channelId: memo, cumulativeAmount: "250000", signature: `0x${"1b".repeat(65)}` }
}

export const needVoucher: Schema.JsonObject = {
  channelId: memo,
  requiredCumulative: "250025",
  acceptedCumulative: "250000",
  deposit: "500000"
}

export const sessionRequest: Schema.JsonObject = {
  amount: "25",
  unitType: "llm_token",
  suggestedDeposit: "10000000",
  currency: pathUsd,
  recipient,
  methodDetails: {
    sessionProtocol: "v2",
    chainId: 42431,
    escrowContract: escrow,
    channelId: memo,
    minVoucherDelta: "100",
    feePayer: true,
    sessionSnapshot: snapshot
  }
}

export const evmRequest: Schema.JsonObject = {
  amount: "10000",
  currency: entryV2.asset,
  recipient,
  methodDetails: { chainId: 84532, credentialTypes: ["authorization"], decimals: 6 }
}

const standard = {
  id: "x7Tg2pLqR9mKvNwY3hBcZa",
  realm: "api.example.com",
  method: "tempo",
  intent: "charge",
  request: PaymentRequest.encode(tempoRequest)
}

export const challenges = [
  standard,
  {
    ...standard,
    request: Json.toBase64Url({ recipient, currency: pathUsd, amount: "0" }),
    expires: "2026-01-15T12:05:00Z",
    digest: "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:",
    description: "one — \"report\", Payment id=\"2\"",
    opaque: "eXkgd3Jvbmc",
    header: "Payment-Authorization"
  },
  { ...standard, method: "evm", request: PaymentRequest.encode(evmRequest), description: "\\ \u202e😀" },
  { ...standard, method: "stripe", intent: "session", request: PaymentRequest.encode({ amount: "1", currency: "usd" }) }
] as const

const terms = { id: "c_1", realm: "api.example.com", priceUsdc: 1_000n, payee: "m_1", expiresAt: 1_800_000_000_000 }
const dialect = `Payment realm="api.example.com" challenge="${SeedChallenge.encode(terms)}" scheme="mpp/1.0"`

export const lines = [
  ...challenges.map((challenge) => Challenge.format(challenge)),
  challenges.map((challenge) => Challenge.format(challenge)).join(", "),
  SeedChallenge.format(terms),
  dialect,
  `Basic realm="x, Payment id=1", ${Challenge.format(standard)}, Bearer scope="a", error="b"`,
  `${SeedChallenge.format(terms)}, ${Challenge.format(standard)}`,
  "Payment, Payment protocols_supported=\"mpp, x402\", Payment challenge=ch_123"
]

export const v2Header = headerV2([entryV2, { ...entryV2, scheme: "upto" }], { error: "insufficient_funds" })

const settlement = Json.toBase64({
  success: true,
  transaction: `0x${"12".repeat(32)}`,
  network: "eip155:84532",
  payer: recipient,
  amount: "10000"
})

export const receipts = [
  Receipt.encode({
    method: "tempo",
    reference: `0x${"12".repeat(32)}`,
    timestamp: "2025-01-21T12:00:00.000Z",
    members: { challengeId: "1", externalId: "order_1" }
  }),
  Receipt.encode({
    method: "tempo",
    reference: memo,
    timestamp: "2025-01-21T12:00:00.000Z",
    members: {
      intent: "session",
      challengeId: "1",
      channelId: memo,
      acceptedCumulative: "250000",
      spent: "249975",
      units: 7,
      txHash: memo
    }
  }),
  Receipt.encodeSeed({ sessionId: "sess_1", amount: 1_000n, remaining: 999_000n })
]

export const settlements = [
  settlement,
  Json.toBase64({ success: false, errorReason: "settlement_pending", transaction: "", network: "base-sepolia" })
]

const problem = Problem.toJson({
  code: "session/insufficient-balance",
  title: "Insufficient Balance",
  status: 402,
  detail: "Pay\u0000 more\u202e"
})

export const bodies: readonly [Schema.JsonObject, ...ReadonlyArray<Schema.JsonObject>] = [
  bodyV1([entryV1, { ...entryV1, network: "solana" }]),
  jsonV2([entryV2]),
  problem,
  { ...problem, challengeId: "1", requiredTopUp: "5", protocols_supported: ["mpp", "x402"] },
  {
    jsonrpc: "2.0",
    id: 1,
    error: {
      code: -32042,
      message: "Payment Required",
      data: { httpStatus: 402, challenges: [{ ...standard, request: tempoRequest }], problem }
    }
  },
  {
    jsonrpc: "2.0",
    id: 1,
    result: {
      content: [{ type: "text", text: "42" }],
      isError: false,
      _meta: { "org.paymentauth/receipt": { status: "success", method: "tempo", reference: "0x1", challengeId: "1" } }
    }
  }
]

export const payloads: readonly [Schema.JsonObject, ...ReadonlyArray<Schema.JsonObject>] = [
  { type: "hash", hash: `0x${"12".repeat(32)}` },
  { type: "transaction", signature: "0x76f901" },
  { type: "proof", signature: `0x${"1b".repeat(65)}`, later: [null, { a: 1 }] },
  {
    type: "authorization",
    from: recipient,
    to: recipient,
    value: "10000",
    validAfter: "0",
    validBefore: "1767700000",
    nonce: memo,
    signature: `0x${"1b".repeat(65)}`
  },
  {
    action: "open",
    type: "transaction",
    channelId: memo,
    descriptor: channel,
    transaction: "0x76f901",
    cumulativeAmount: "25",
    signature: `0x${"1b".repeat(65)}`
  },
  { action: "topUp", type: "transaction", channelId: memo, transaction: "0x76f901", additionalDeposit: "5000000" },
  {
    action: "voucher",
    channelId: memo,
    descriptor: channel,
    cumulativeAmount: "250000",
    signature: `0x${"1b".repeat(65)}`
  }
]

export const credential = (payload: Schema.JsonObject, at: number): string =>
  Redacted.value(Credential.format({
    challenge: challenges[at % challenges.length]!,
    source: `did:pkh:eip155:42431:${recipient}`,
    payload
  }))

export const token = "Payment mpps_0123456789abcdef"

export const accepted = [
  AcceptPayment.format([
    { method: "tempo", intent: "charge", quality: 1 },
    { method: "evm", intent: "*", quality: 0.5 },
    { method: "*", intent: "session", quality: 0 }
  ]),
  "tempo/*;q=1, tempo/charge;q=0"
] as const

/** What the payer signed, and pays the fee of. */
export const transaction: Hex =
  "0x76f9011582a5bf843b9aca008504a817c800830493e0f87ef87c9420c000000000000000000000000000000000000080b86495777d59000000000000000000000000742d35cc6634c0532925a3b844bc9e7595f8fe0000000000000000000000000000000000000000000000000000000000000f4240ef1ed712011ece072f76bd8b82350e00000000000000000000eb18f2d4402269c0a0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff8084695cf620809420c000000000000000000000000000000000000080c0b841d16147ab6f40dca0b35f39d9f78273923bac5c57a351d4452c0743d0a1535198527c2fc0c70492c4163b9db8f585421b5dfa081ad2afd27153759b7039b24dae1b"

// ---------------------------------------------------------------------------------------------------------------------
// How they go wrong
// ---------------------------------------------------------------------------------------------------------------------

const pieces = [
  "\"",
  "\\",
  "\\\"",
  "\\u0000",
  "\\u202e",
  "\\ud800",
  "\\u12",
  ",",
  ", ",
  " ",
  "\t",
  "\r\n",
  "=",
  "==",
  "a=\"",
  "Payment ",
  ", payment\t",
  "Bearer ",
  "id=\"\"",
  "request=e30",
  "{",
  "}",
  "[",
  "[[[[[[[[[[",
  "{\"a\":",
  ":",
  "null",
  "-1",
  "1e999",
  "0x",
  "999999999999999999999999999999",
  "__proto__",
  "constructor",
  "\u0000",
  "\u202e",
  "\ud800",
  "\u2028",
  "€",
  "😀",
  "*/*",
  ";q=",
  "q=1.001",
  "sha-256=:",
  "a".repeat(300),
  "A".repeat(20_000)
] as const

const mutateOnce = (text: string, dice: Dice): string => {
  const at = dice.below(text.length + 1)
  const end = Math.min(text.length, at + 1 + dice.below(dice.roll() < 0.5 ? 3 : 40))
  switch (dice.below(8)) {
    case 0:
      return text.slice(0, at) + text.slice(end)
    case 1:
      return text.slice(0, end) + text.slice(at)
    case 2:
      return text.slice(0, at)
    case 3:
      return text.slice(0, at) + String.fromCharCode(dice.below(128)) + text.slice(at + 1)
    case 4:
      return text.slice(0, at) + String.fromCharCode(dice.below(0x10000)) + text.slice(at)
    case 5:
      return text.slice(0, at) + text.slice(at, end).toUpperCase() + text.slice(end)
    case 6:
      return text.slice(at) + text.slice(0, at)
    default:
      return text.slice(0, at) + dice.pick(pieces) + text.slice(dice.roll() < 0.5 ? at : end)
  }
}

/** As it was in one of four cases, else changed in up to four places. */
export const mutate = (text: string, dice: Dice): string => {
  let mutated = text
  for (let times = dice.below(5) - 1; times > 0; times--) mutated = mutateOnce(mutated, dice)
  return mutated
}

/** Of the pieces alone. */
export const nonsense = (dice: Dice): string => {
  let text = ""
  for (let times = dice.below(12); times > 0; times--) {
    text += dice.roll() < 0.9 ? dice.pick(pieces.slice(0, -2)) : String.fromCharCode(dice.below(0x10000))
  }
  return text
}

const values: readonly [Schema.Json, ...ReadonlyArray<Schema.Json>] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e300,
  "",
  "0",
  "1",
  "-1",
  "01",
  "1.5",
  "1000000",
  "9".repeat(78),
  "9".repeat(79),
  pathUsd,
  pathUsd.toUpperCase(),
  memo,
  "0x",
  "\u202e\u0000",
  "tempo",
  "base",
  "exact",
  "eip155:8453",
  "2026-01-15T12:05:00Z",
  [],
  [null],
  {},
  { amount: "1", recipient },
  [{ amount: "1", recipient }, { amount: "999999", recipient }],
  ["pull", "authorization"]
]

const names = [
  "amount",
  "currency",
  "recipient",
  "splits",
  "chainId",
  "__proto__",
  "constructor",
  "status",
  "",
  "later"
]

/** One member, somewhere within, is replaced, taken away, named otherwise, or made into many. */
const mutateValue = (value: Schema.Json, dice: Dice): Schema.Json => {
  if (typeof value !== "object" || value === null || dice.roll() < 0.15) {
    return typeof value === "string" && dice.roll() < 0.3 ? mutateOnce(value, dice) : dice.pick(values)
  }
  const entries = Object.entries(value)
  const at = dice.below(entries.length)
  const entry = entries[at]
  if (entry === undefined) return dice.pick(values)
  const [name, member] = entry
  const changed: ReadonlyArray<readonly [string, Schema.Json]> = (() => {
    switch (dice.below(8)) {
      case 0:
        return []
      case 1:
        return [[dice.pick(names) ?? name, member]]
      case 2:
        return [[name, member], [dice.pick(names) ?? name, dice.pick(values)]]
      case 3:
        return Array.isArray(value) ? Array.from({ length: dice.below(60) }, () => entry) : [[name, [member]]]
      default:
        return [[name, mutateValue(member, dice)]]
    }
  })()
  const mutated = entries.toSpliced(at, 1, ...changed.map(([key, changed]): [string, Schema.Json] => [key, changed]))
  return Array.isArray(value) ? mutated.map(([, item]) => item) : Object.fromEntries(mutated)
}

/** As it was in one of four cases, else changed in up to three members. */
export const mutateJson = (json: Schema.JsonObject, dice: Dice): Schema.JsonObject => {
  let mutated: Schema.Json = json
  for (let times = dice.below(4); times > 0; times--) mutated = mutateValue(mutated, dice)
  return Json.isObject(mutated) ? mutated : { value: mutated }
}
