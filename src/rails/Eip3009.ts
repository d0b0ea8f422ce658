/**
 * EIP-3009 transfers by authorisation: the message that a payer signs, and what a chain says became of it.
 *
 * An authorisation is spent at most once, by its nonce, by whoever holds the signature, in a block stamped before
 * `validBefore`. So a chain can prove both ends of it: the log of the token that used it, or a finalized block at or after
 * `validBefore` in which the nonce is unused.
 *
 * @since 0.1.0
 */
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Hex, TypedDataDefinition } from "viem"
import { bytesToHex, isAddress, pad, toEventSelector, toFunctionSelector } from "viem/utils"
import * as Chain from "../Chain.ts"
import { ChainError } from "../PaymentError.ts"
import { Evidence, type Verdict } from "../Rails.ts"

const Address = Schema.TemplateLiteral(["0x", Schema.String]).check(
  Schema.makeFilter((address: string) =>
    isAddress(address) || "Expected an address, with a valid checksum if it has one"
  )
)
const Uint256 = Schema.String.check(Schema.isPattern(/^(?:0|[1-9][0-9]{0,77})$/))
const Bytes32 = Schema.TemplateLiteral(["0x", Schema.String]).check(Schema.isPattern(/^0x[0-9a-f]{64}$/))

/**
 * The EIP-712 domain of a token.
 *
 * @category models
 * @since 0.1.0
 */
export const Domain = Schema.Struct({
  name: Schema.String,
  version: Schema.String,
  chainId: Schema.Natural,
  verifyingContract: Address
})

/**
 * @category models
 * @since 0.1.0
 */
export type Domain = typeof Domain.Type

/**
 * The message that is signed, with every number in decimal digits as it travels. Times are seconds since the epoch.
 *
 * @category models
 * @since 0.1.0
 */
export const Authorization = Schema.Struct({
  from: Address,
  to: Address,
  value: Uint256,
  validAfter: Uint256,
  validBefore: Uint256,
  nonce: Bytes32
})

/**
 * @category models
 * @since 0.1.0
 */
export type Authorization = typeof Authorization.Type

/**
 * A fresh nonce: random, so that parallel payments never stand in each other's way.
 *
 * @category constructors
 * @since 0.1.0
 */
export const nonce = (random: SecureRandom.SecureRandom["Service"]): Effect.Effect<Hex> =>
  Effect.map(random.randomBytes(32), (bytes) => bytesToHex(bytes))

/**
 * What the wallet signs.
 *
 * @category constructors
 * @since 0.1.0
 */
export const typedData = (domain: Domain, authorization: Authorization): TypedDataDefinition => ({
  domain,
  types: {
    TransferWithAuthorization: [
      { name: "from", type: "address" },
      { name: "to", type: "address" },
      { name: "value", type: "uint256" },
      { name: "validAfter", type: "uint256" },
      { name: "validBefore", type: "uint256" },
      { name: "nonce", type: "bytes32" }
    ]
  },
  primaryType: "TransferWithAuthorization",
  message: {
    ...authorization,
    value: BigInt(authorization.value),
    validAfter: BigInt(authorization.validAfter),
    validBefore: BigInt(authorization.validBefore)
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// What became of it
// ---------------------------------------------------------------------------------------------------------------------

const balanceOf = toFunctionSelector("balanceOf(address)")
const authorizationState = toFunctionSelector("authorizationState(address,bytes32)")
const used = toEventSelector("AuthorizationUsed(address,bytes32)")
const canceled = toEventSelector("AuthorizationCanceled(address,bytes32)")
const transfer = toEventSelector("Transfer(address,address,uint256)")

/** Most nodes answer for at least this many blocks at once. */
const blocksPerSearch = 1_000n

/**
 * A transfer comes before the validity ends. That is far less than these many searches, which span hours of the fastest
 * chains; a node that shows old stamps and a huge latest block is not searched to its end.
 */
const maxSearches = 64

/** A cancellation may come at any time; it is not looked for in more than this many searches. */
const maxSearchesBeyond = 16

/** By how much our clock may be ahead of the chain's, in seconds. */
const clockSkew = 120n

const word = (value: Hex) => pad(value, { size: 32 }).toLowerCase() as Hex
const sameHex = (left: string | undefined, right: string) => left?.toLowerCase() === right.toLowerCase()

/**
 * What is asked about.
 *
 * @category models
 * @since 0.1.0
 */
export interface Signed {
  readonly token: Hex
  readonly authorization: Authorization
  /** When it was planned, in seconds since the epoch: its logs are looked for from there. */
  readonly plannedAt: number
}

/**
 * Asks every node what became of an authorisation.
 *
 * **Details**
 *
 * `Void` takes all of the nodes: each must show a finalized block at or after `validBefore` in which the nonce is unused, or
 * a finalized log of its cancellation. `Settled` carries the transaction if its log is to be had, and a mismatch if that
 * transaction did not transfer what was signed. If the nonce is used and no log says how, it counts as spent.
 *
 * @category combinators
 * @since 0.1.0
 */
export const reconcile = Effect.fnUntraced(function*(
  nodes: ReadonlyArray<Chain.Node>,
  signed: Signed
): Effect.fn.Return<Verdict, ChainError> {
  const answers = yield* Effect.forEach(nodes, (node) => Effect.result(ask(node, signed)), { concurrency: "unbounded" })
  const verdicts = answers.flatMap((answer) => Result.isSuccess(answer) ? [answer.success] : [])
  const failure = answers.find(Result.isFailure)
  const tags = new Set(verdicts.map((verdict) => verdict._tag))
  if (tags.size > 1) return unknown("the nodes disagree")
  // money that moved needs no second witness; money that comes back needs all of them
  const weakest = verdicts.find(({ evidence }) => evidence.rank !== "proven") ?? verdicts[0]
  if (failure !== undefined && weakest?._tag !== "Settled") return yield* Effect.fail(failure.failure)
  return weakest ?? unknown("no rpc")
})

/**
 * The verdict that nothing is known, and that it may be asked again.
 *
 * @category constructors
 * @since 0.1.0
 */
export const unknown = (what: string, rank: Evidence["rank"] = "presumed", detail?: Evidence["detail"]): Verdict => ({
  _tag: "Unknown",
  content: false,
  evidence: new Evidence({ rank, what, ...(detail === undefined ? {} : { detail }) }),
  next: { _tag: "reconcile" }
})

const ask = Effect.fnUntraced(function*(node: Chain.Node, signed: Signed): Effect.fn.Return<Verdict, ChainError> {
  const final = yield* node.block("finalized")
  const latest = yield* node.block("latest")
  const isExpired = final.timestamp >= BigInt(signed.authorization.validBefore)
  // Nodes forget old states. A nonce that is unused later was unused before, so the latest block will do instead.
  const isUsed = yield* isExpired
    ? Effect.catch(isUsedAt(node, signed, final.number), () => isUsedAt(node, signed, latest.number))
    : isUsedAt(node, signed, latest.number)
  const detail = { block: final.number.toString(), timestamp: final.timestamp.toString() }
  if (isUsed) return yield* howUsed(node, signed, final, latest)
  return isExpired
    ? { _tag: "Void", evidence: new Evidence({ rank: "proven", what: "authorization expired unused", detail }) }
    : unknown("authorization unused so far", "observed", detail)
})

/**
 * What an account holds of a token, in base units, at a node's latest block.
 *
 * @category combinators
 * @since 0.1.0
 */
export const balance = (node: Chain.Node, token: Hex, account: Hex): Effect.Effect<bigint, ChainError> =>
  Effect.flatMap(
    node.call(token, `${balanceOf}${word(account).slice(2)}`, "latest"),
    (answer) =>
      /^0x[0-9a-fA-F]{64}$/.test(answer)
        ? Effect.succeed(BigInt(answer))
        : Effect.fail(
          new ChainError({
            network: node.network,
            operation: "balanceOf",
            detail: "the token does not answer as ERC-20 asks"
          })
        )
  )

const isUsedAt = (
  node: Chain.Node,
  { authorization, token }: Signed,
  block: bigint
): Effect.Effect<boolean, ChainError> => {
  const data: Hex = `${authorizationState}${word(authorization.from).slice(2)}${authorization.nonce.slice(2)}`
  return Effect.flatMap(node.call(token, data, block), (answer) => {
    const digit = /^0x0{63}([01])$/.exec(answer)?.[1]
    return digit === undefined
      ? Effect.fail(
        new ChainError({
          network: node.network,
          operation: "authorizationState",
          detail: "the token does not answer as EIP-3009 asks"
        })
      )
      : Effect.succeed(digit === "1")
  })
}

const howUsed = Effect.fnUntraced(function*(
  node: Chain.Node,
  signed: Signed,
  final: Chain.Block,
  latest: Chain.Block
): Effect.fn.Return<Verdict> {
  const units = BigInt(signed.authorization.value)
  const settled = (evidence: Evidence): Verdict => ({ _tag: "Settled", units, content: false, evidence })
  const log = yield* Effect.orElseSucceed(findLog(node, signed, latest), () => undefined)
  if (log === undefined) return settled(new Evidence({ rank: "observed", what: "state" }))

  const rank = log.blockNumber <= final.number ? "proven" : "observed"
  const reference = log.transactionHash.toLowerCase()
  if (sameHex(log.topics[0], canceled)) {
    const what = "authorization canceled"
    return rank === "proven"
      ? { _tag: "Void", evidence: new Evidence({ rank, what, reference }) }
      : unknown(what, rank)
  }
  const what = "authorization used"
  return yield* Effect.match(node.receiptLogs(log.transactionHash), {
    onFailure: () => settled(new Evidence({ rank: "observed", what, reference })),
    onSuccess: (logs) => {
      const isPaid = logs.some((one) => isTransferOf(signed, one))
      return settled(new Evidence({ rank, what, reference, ...(isPaid ? {} : { mismatch: true }) }))
    }
  })
})

const isTransferOf = ({ authorization, token }: Signed, log: Chain.Log): boolean =>
  sameHex(log.address, token) && sameHex(log.topics[0], transfer) &&
  sameHex(log.topics[1], word(authorization.from)) && sameHex(log.topics[2], word(authorization.to)) &&
  /^0x[0-9a-fA-F]{64}$/.test(log.data) && BigInt(log.data) === BigInt(authorization.value)

/** The log that says how the nonce was used: first where a transfer can be, then where only a cancellation can. */
const findLog = Effect.fnUntraced(function*(
  node: Chain.Node,
  { authorization, plannedAt, token }: Signed,
  latest: Chain.Block
): Effect.fn.Return<Chain.Log | undefined, ChainError> {
  const topics = [[used, canceled], word(authorization.from), authorization.nonce]
  const end = yield* Chain.firstBlockAt(node, latest, BigInt(authorization.validBefore))
  let fromBlock = yield* Chain.firstBlockAt(node, latest, BigInt(plannedAt) - clockSkew)
  for (let searches = 0; fromBlock <= latest.number; searches++) {
    if (searches >= (fromBlock <= end ? maxSearches : maxSearchesBeyond)) return undefined
    const last = fromBlock + blocksPerSearch - 1n
    const toBlock = last < latest.number ? last : latest.number
    const logs = yield* node.logs({ address: token, topics, fromBlock, toBlock })
    const log = logs.find((one) =>
      sameHex(one.address, token) && (sameHex(one.topics[0], used) || sameHex(one.topics[0], canceled)) &&
      sameHex(one.topics[1], word(authorization.from)) && sameHex(one.topics[2], authorization.nonce)
    )
    if (log !== undefined) return log
    fromBlock = toBlock + 1n
  }
  return undefined
})
