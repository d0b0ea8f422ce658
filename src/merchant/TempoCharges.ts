/**
 * Sells by charges of the method `tempo`: a payer transfers a token on a Tempo chain, in a transaction that it hands over
 * or broadcasts itself. Where nothing is charged it proves by a signature which account is its own.
 *
 * A transfer carries a memo that is bound to its challenge, so that no payment pays for anything else.
 *
 * @since 0.1.0
 */
import type * as SecureRandom from "effect/crypto/SecureRandom"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import type { Address, Hex } from "viem"
import { isAddress, isAddressEqual, recoverTypedDataAddress } from "viem/utils"
import { parseUsd } from "../Amount.ts"
import type { Asset } from "../Asset.ts"
import * as Chain from "../Chain.ts"
import * as Json from "../wire/Json.ts"
import type { Credential } from "../wire/mpp/Credential.ts"
import * as Source from "../wire/mpp/Source.ts"
import * as TempoCharge from "../wire/mpp/TempoCharge.ts"
import * as ChargeWay from "./ChargeWay.ts"
import * as Confirmation from "./tempoCharges/Confirmation.ts"
import type * as Pull from "./tempoCharges/Pull.ts"
import type * as Sponsor from "./tempoCharges/Sponsor.ts"
import * as Transfers from "./tempoCharges/Transfers.ts"
import { type Sale, unitsOf, type Way } from "./Way.ts"

// ---------------------------------------------------------------------------------------------------------------------
// Models
// ---------------------------------------------------------------------------------------------------------------------

/**
 * A recipient beside the first one, and its share of every price.
 *
 * @category models
 * @since 0.1.0
 */
export interface Split {
  readonly payTo: string
  /** In hundredths of a percent, rounded down to base units: 250 is 2.5%. */
  readonly basisPoints: number
  /** 32 bytes that its transfer has to carry. */
  readonly memo?: Hex | undefined
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Options extends ChargeWay.Options {
  /** The tokens that are taken, the preferred one first, and where they are paid to. */
  readonly accepts: ReadonlyArray<{ readonly asset: Asset; readonly payTo: string }>
  /** At most ten, who get less than everything. */
  readonly splits?: ReadonlyArray<Split> | undefined
  /**
   * Who broadcasts: the merchant (`pull`), the payer (`push`), or whoever the payer prefers (default both). Where the
   * merchant pays the fee, it broadcasts.
   */
  readonly modes?: ReadonlyArray<"pull" | "push"> | undefined
  /** Pays the fees of the payers' transactions. */
  readonly feePayer?: Sponsor.Options | undefined
  /** For how long to wait for a transaction to be confirmed before it is said that this is not known (default 15 s). */
  readonly confirmationTimeout?: Duration.Input | undefined
}

// ---------------------------------------------------------------------------------------------------------------------
// What is asked for
// ---------------------------------------------------------------------------------------------------------------------

const all = 10_000

const check = ({ accepts, feePayer, modes, splits = [] }: Options) => {
  const isWrong = [...accepts, ...splits].find(({ payTo }) => !isAddress(payTo, { strict: false }))
  if (isWrong !== undefined) throw new RangeError(`Expected an address to pay to, got "${isWrong.payTo}"`)
  const foreign = accepts.find(({ asset }) => asset.chainId === undefined)
  if (foreign !== undefined) throw new RangeError(`Expected a network of EVM chains, got "${foreign.asset.network}"`)
  if (modes?.length === 0) throw new RangeError("Expected a mode: pull, push, or both")
  if (feePayer !== undefined && modes?.includes("pull") === false) {
    throw new RangeError("Expected the mode pull, where fees are paid")
  }
  if (feePayer?.maxFee !== undefined && Option.isNone(parseUsd(feePayer.maxFee))) {
    throw new RangeError(`Expected a fee in US dollars such as "0.05", got "${feePayer.maxFee}"`)
  }
  const shares = splits.map(({ basisPoints }) => basisPoints)
  if (
    splits.length > TempoCharge.maxSplits ||
    !shares.every((share) => Number.isInteger(share) && share > 0) ||
    shares.reduce((sum, share) => sum + share, 0) >= all
  ) {
    throw new RangeError(`Expected at most ${TempoCharge.maxSplits} splits, of less than ${all} basis points together`)
  }
}

const encodeRequest = Schema.encodeSync(TempoCharge.Request)

const address = (text: string): Address => `0x${text.slice(2).toLowerCase()}`

const requestOf = (
  { feePayer, modes, splits = [] }: Options,
  sale: Sale,
  { asset, payTo }: Options["accepts"][number]
): Schema.JsonObject => {
  const units = unitsOf(asset, sale.priceUsd)
  const parts = splits
    .map(({ basisPoints, memo, payTo }) => ({
      amount: (units * BigInt(basisPoints)) / BigInt(all),
      recipient: address(payTo),
      ...(memo === undefined ? {} : { memo })
    }))
    .filter(({ amount }) => amount > 0n)
  const isFree = units === 0n
  const supportedModes = feePayer === undefined ? modes : ["pull" as const]
  return encodeRequest({
    amount: units,
    currency: address(asset.address),
    recipient: address(payTo),
    ...(sale.externalId === undefined ? {} : { externalId: sale.externalId }),
    methodDetails: {
      chainId: asset.chainId!,
      ...(isFree || feePayer === undefined ? {} : { feePayer: true }),
      ...(parts.length === 0 ? {} : { splits: parts }),
      ...(isFree || supportedModes === undefined ? {} : { supportedModes })
    }
  })
}

// ---------------------------------------------------------------------------------------------------------------------
// What is presented
// ---------------------------------------------------------------------------------------------------------------------

const decodePayload = Json.decoder(TempoCharge.Payload)

const refused = (detail: string) => ChargeWay.refuse("verification-failed", detail)

const modesOf = ({ methodDetails }: TempoCharge.Request): ReadonlyArray<string> =>
  methodDetails?.supportedModes ?? ["pull", "push"]

/** A proof belongs to its challenge alone, and there is nothing to take. */
const verifyProof = Effect.fnUntraced(function*(
  { challenge }: Credential,
  signature: Hex,
  chainId: number,
  source: Option.Option<Source.Source>
) {
  if (Option.isNone(source)) return yield* refused("A proof needs the account that it proves, as its source")
  const account = source.value.address
  const signer = yield* Effect.tryPromise({
    try: () =>
      recoverTypedDataAddress({
        ...TempoCharge.proofTypedData({ account, chainId, challengeId: challenge.id, realm: challenge.realm }),
        signature
      }),
    catch: () => refused("The proof is no signature")
  })
  if (!isAddressEqual(signer, account)) return yield* refused("The proof is not signed by its source")
  return {
    source: Source.format(chainId, account),
    settle: () => Effect.succeed(challenge.id)
  }
})

/** What a payer has broadcast is taken already. */
const verifyPush = Effect.fnUntraced(function*(charge: Pull.Charge, hash: Hex, timeout: Duration.Duration) {
  const awaited = { hash, validBefore: Number.MAX_SAFE_INTEGER }
  const receipt = yield* Confirmation.wait(charge.nodes, awaited, timeout)
  if (typeof receipt === "string") {
    return yield* ChargeWay.notSettled(
      new ChargeWay.Unsettled({ outcome: "unknown", detail: "its transaction is not confirmed" })
    )
  }
  if (!receipt.succeeded) return yield* refused("The transaction was reverted")
  const moved = Transfers.fromLogs(charge.token, receipt.logs)
  const payers = Option.match(charge.source, {
    onNone: () => [...new Set(moved.map(({ from }) => from))],
    onSome: ({ address }) => [address]
  })
  const payer = payers.find((from) => Transfers.cover(charge.wanted, moved, from))
  if (payer === undefined) {
    return yield* refused("The transaction did not make the transfers that are asked for, bound to the challenge")
  }
  return {
    source: Source.format(charge.chainId, payer),
    name: `${charge.network}/${hash}`,
    settle: () => Effect.succeed(hash)
  }
})

// ---------------------------------------------------------------------------------------------------------------------
// The way
// ---------------------------------------------------------------------------------------------------------------------

/** An account is the same in every currency of a network. */
const isFirstOfNetwork = (
  { asset }: Options["accepts"][number],
  at: number,
  accepts: Options["accepts"]
) => accepts.findIndex((other) => other.asset.network === asset.network) === at

/** How long the hash of a transaction that no node has yet is looked for: payers wait for it themselves. */
const pushTimeout = Duration.seconds(5)

const makeMethod = Effect.fnUntraced(function*(options: Options) {
  const chain = yield* Chain.Chain
  const unreachable = options.accepts.find(({ asset }) => chain.nodes(asset.network).length === 0)
  if (unreachable !== undefined) {
    return yield* Effect.die(
      new RangeError(`Expected an RPC of ${unreachable.asset.network}, where payments are taken`)
    )
  }
  // Loaded here, so that merchants who sell otherwise need not wait for it.
  const { make } = yield* Effect.promise(() => import("./tempoCharges/Pull.ts"))
  const timeout = Duration.fromInputUnsafe(options.confirmationTimeout ?? "15 seconds")
  const pull = make({ feePayer: options.feePayer, timeout })

  const method: ChargeWay.Method = {
    name: "tempo",
    sells: () => options.accepts.length > 0,
    requests: (sale) =>
      (sale.priceUsd === 0n ? options.accepts.filter(isFirstOfNetwork) : options.accepts)
        .map((accepted) => requestOf(options, sale, accepted)),
    verify: Effect.fnUntraced(function*(credential) {
      const { challenge, payload, source: named } = credential
      const request = Result.getOrUndefined(TempoCharge.fromChallenge(challenge))
      const decoded = Result.getOrUndefined(decodePayload(payload))
      const chainId = request?.methodDetails?.chainId
      if (decoded === undefined) {
        return yield* ChargeWay.refuse("malformed-credential", "The credential's payload cannot be read")
      }
      if (request === undefined || chainId === undefined) {
        return yield* ChargeWay.refuse("invalid-challenge", "The challenge cannot be read")
      }
      const source = Option.flatMap(Option.fromUndefinedOr(named), Source.parse)
      if (named !== undefined && !Option.exists(source, (it) => it.chainId === chainId)) {
        return yield* refused("The source is no account on the chain of the challenge")
      }
      if ((request.amount === 0n) !== (decoded.type === "proof")) {
        return yield* refused("A proof is for challenges that ask for nothing, and for those alone")
      }
      if (decoded.type === "proof") return yield* verifyProof(credential, decoded.signature, chainId, source)
      const network = `eip155:${chainId}`
      const charge: Pull.Charge = {
        chainId,
        network,
        nodes: chain.nodes(network),
        token: request.currency,
        wanted: Transfers.wanted(request, challenge),
        sponsored: request.methodDetails?.feePayer === true,
        expires: Math.floor(Date.parse(challenge.expires ?? "") / 1000),
        source
      }
      const mode = decoded.type === "transaction" ? "pull" : "push"
      if (charge.nodes.length === 0 || !modesOf(request).includes(mode)) {
        return yield* refused(`The challenge is not to be answered by ${mode}`)
      }
      return yield* decoded.type === "transaction"
        ? pull.verify(charge, decoded.signature)
        : verifyPush(charge, decoded.hash, Duration.min(timeout, pushTimeout))
    })
  }
  return method
})

/**
 * A way to sell by charges on Tempo. Throws a `RangeError` at once if a secret is too short, an address is none, or the
 * splits leave nothing; dies of one when its layer is built if a network has no RPC.
 *
 * **Example** (Whose fees are paid, and who gets a share)
 *
 * ```ts
 * import * as Redacted from "effect/Redacted"
 * import * as Asset from "effect-mpp/Asset"
 * import * as Paywall from "effect-mpp/merchant/Paywall"
 * import type { LocalAccount } from "viem"
 *
 * const charges = (feePayer: LocalAccount, secret: Redacted.Redacted<string>, asset: Asset.Asset) =>
 *   Paywall.tempo({
 *     secret,
 *     accepts: [{ asset, payTo: "0x70997970C51812dc3A010C7d01b50e0d17dc79C8" }],
 *     splits: [{ payTo: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC", basisPoints: 250 }],
 *     feePayer: { account: feePayer, maxFee: "0.01" }
 *   })
 * ```
 *
 * **Gotchas**
 *
 * The money is taken before the handler runs. What a handler refuses then (a status of 400 and above) is owed: the payer can
 * present the same credential again. Claims in memory are forgotten by a restart: a payment that was answered before it can
 * then be presented once more, as long as its challenge is valid.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (
  options: Options
): Effect.Effect<Way, never, Chain.Chain | SecureRandom.SecureRandom> => {
  check(options)
  return ChargeWay.make(options, makeMethod(options))
}
