/**
 * A facilitator of a local chain: it verifies and settles x402 payments of the scheme `exact`, version 1 and 2, with the
 * chain's first account. Its clock is the chain's.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import type { Hex } from "viem"
import { encodeFunctionData, isAddressEqual, recoverTypedDataAddress } from "viem/utils"
import {
  Facilitator,
  FacilitatorUnavailable,
  type Settlement,
  SettlementUnknown,
  type Submission,
  type Verification
} from "../../merchant/Facilitator.ts"
import type { ChainError } from "../../PaymentError.ts"
import * as Json from "../../wire/Json.ts"
import * as ExactEvm from "../../wire/x402/ExactEvm.ts"
import * as Networks from "../../wire/x402/Networks.ts"
import * as V1 from "../../wire/x402/V1.ts"
import * as V2 from "../../wire/x402/V2.ts"
import { EvmChain } from "./Evm.ts"
import * as TestToken from "./TestToken.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /**
   * For how long a settlement is waited for, in real time, before it is answered as `settlement_pending` (default 30
   * seconds).
   */
  readonly confirmationTimeout?: Duration.Input | undefined
}

/**
 * A facilitator of the local chain.
 *
 * **Details**
 *
 * Payments are checked in the order of the official facilitator and refused with its codes. Equal payments that are settled
 * at the same time, or later, are one settlement with one answer.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: Options = {}): Layer.Layer<Facilitator, never, EvmChain> =>
  Layer.effect(Facilitator, make(options))

// ---------------------------------------------------------------------------------------------------------------------
// What is submitted
// ---------------------------------------------------------------------------------------------------------------------

/** What both versions say of a payment. */
interface Read {
  readonly scheme: string
  /** CAIP-2. */
  readonly network: string
  readonly paidBy: { readonly scheme: string; readonly network: string }
  readonly asset: string
  readonly units: bigint
  readonly payTo: string
  readonly extra: Schema.JsonObject
  /** Version 2 wants the amount itself, version 1 at least the amount. */
  readonly exactly: boolean
  readonly payload: ExactEvm.Payload
}

const requirementV1 = Json.decoder(V1.Requirement)
const requirementV2 = Json.decoder(V2.Requirement)
const paymentV1 = Json.decoder(V1.Payment)
const paymentV2 = Json.decoder(V2.Payment)
const decodeChoice = Json.decoder(Schema.Struct({ scheme: Schema.String, network: Schema.String }))

const networkOf = (name: string) => Option.getOrElse(Networks.fromName(name), () => name)

const read = ({ paymentPayload, paymentRequirements, x402Version }: Submission): Option.Option<Read> =>
  Option.gen(function*() {
    if (x402Version === 1) {
      const payment = yield* Result.getSuccess(paymentV1(paymentPayload))
      const { extra, maxAmountRequired, network, ...terms } = yield* Result.getSuccess(
        requirementV1(paymentRequirements)
      )
      return {
        ...terms,
        network: networkOf(network),
        paidBy: { scheme: payment.scheme, network: networkOf(payment.network) },
        units: maxAmountRequired,
        extra: extra ?? {},
        exactly: false,
        payload: yield* ExactEvm.decode(payment.payload)
      }
    }
    const payment = yield* Result.getSuccess(paymentV2(paymentPayload))
    const { amount, extra, ...terms } = yield* Result.getSuccess(requirementV2(paymentRequirements))
    return {
      ...terms,
      paidBy: yield* Result.getSuccess(decodeChoice(payment.accepted)),
      units: amount,
      extra: extra ?? {},
      exactly: true,
      payload: yield* ExactEvm.decode(payment.payload)
    }
  })

// ---------------------------------------------------------------------------------------------------------------------
// Verification
// ---------------------------------------------------------------------------------------------------------------------

const types = {
  TransferWithAuthorization: [
    { name: "from", type: "address" },
    { name: "to", type: "address" },
    { name: "value", type: "uint256" },
    { name: "validAfter", type: "uint256" },
    { name: "validBefore", type: "uint256" },
    { name: "nonce", type: "bytes32" }
  ]
} as const

/** Seconds that a settlement may take until it is in a block. */
const settlementTime = 6n

const isSame = (a: string, b: string) => a.toLowerCase() === b.toLowerCase()

const callOf = ({ authorization: { from, nonce, to, validAfter, validBefore, value }, signature }: ExactEvm.Payload) =>
  encodeFunctionData({
    abi: TestToken.abi,
    functionName: "transferWithAuthorization",
    args: [from, to, value, validAfter, validBefore, nonce, signature]
  })

/** Why a payment would not settle; undefined if it would. */
const refusal = Effect.fnUntraced(function*(
  chain: EvmChain["Service"],
  settler: string,
  { asset, exactly, extra, network, paidBy, payload, payTo, scheme, units }: Read
): Effect.fn.Return<string | undefined, ChainError> {
  const { authorization, signature } = payload
  const { from, nonce, to, validAfter, validBefore, value } = authorization
  if (scheme !== "exact" || paidBy.scheme !== "exact") return "invalid_exact_evm_scheme"
  const { name, version } = extra
  if (typeof name !== "string" || typeof version !== "string") return "invalid_exact_evm_missing_eip712_domain"
  if (network !== chain.network || paidBy.network !== network) return "invalid_exact_evm_network_mismatch"
  if (!isSame(asset, chain.asset.address)) return "asset_not_deployed_contract"

  const isContract = (yield* chain.rpc("eth_getCode", [from, "latest"])) !== "0x"
  const domain = { name, version, chainId: chain.chainId, verifyingContract: asset as Hex }
  const signer = yield* Effect.option(Effect.tryPromise(() =>
    recoverTypedDataAddress({
      domain,
      types,
      primaryType: "TransferWithAuthorization",
      message: authorization,
      signature
    })
  ))
  if (!isContract && !Option.exists(signer, (address) => isAddressEqual(address, from))) {
    return "invalid_exact_evm_signature"
  }

  const now = yield* chain.now
  if (!isSame(to, payTo)) return "invalid_exact_evm_recipient_mismatch"
  if (validBefore < now + settlementTime) return "invalid_exact_evm_payload_authorization_valid_before"
  if (validAfter > now) return "invalid_exact_evm_payload_authorization_valid_after"
  if (exactly ? value !== units : value < units) return "invalid_exact_evm_payload_authorization_value_mismatch"

  const transaction = { from: settler, to: asset, data: callOf(payload) }
  // not "pending": a payment that is on its way to the chain would be refused when it is asked about again
  const simulation = yield* Effect.option(chain.rpc("eth_call", [transaction, "latest"]))
  if (Option.isSome(simulation)) return undefined
  if (yield* chain.authorizationState(from, nonce)) return "invalid_exact_evm_nonce_already_used"
  if ((yield* chain.balance(from)) < value) return "invalid_exact_evm_insufficient_balance"
  return "invalid_exact_evm_transaction_simulation_failed"
})

// ---------------------------------------------------------------------------------------------------------------------
// Settlement
// ---------------------------------------------------------------------------------------------------------------------

/** A settlement that may have been asked for more than once. */
interface Underway {
  transaction: string
  readonly outcome: Deferred.Deferred<Settlement, FacilitatorUnavailable | SettlementUnknown>
}

const HexText = Schema.String.check(Schema.isPattern(/^0x[0-9a-f]+$/i))
const decodeHash = Schema.decodeUnknownEffect(HexText)
const decodeReceipt = Schema.decodeUnknownEffect(Schema.NullOr(Schema.Struct({ status: HexText })))

const pollingInterval = 25

/** Blocks come in real time, whatever a test's clock says. */
const realSleep = (millis: number): Effect.Effect<void> =>
  Effect.callback((resume) => {
    const timer = setTimeout(() => resume(Effect.void), millis)
    return Effect.sync(() => clearTimeout(timer))
  })

const make = Effect.fnUntraced(function*(options: Options) {
  const chain = yield* EvmChain
  const scope = yield* Scope.Scope
  const settler = chain.accounts[0]!.address
  const confirmationTimeout = Duration.toMillis(options.confirmationTimeout ?? "30 seconds")
  /** The node counts the settler's transactions, one at a time. */
  const sending = yield* Semaphore.make(1)
  const known = new Map<string, Underway>()

  const verify = Effect.fnUntraced(function*(submission: Submission): Effect.fn.Return<Verification, ChainError> {
    const payment = read(submission)
    if (Option.isNone(payment)) return { isValid: false, invalidReason: "invalid_payload" }
    const payer = payment.value.payload.authorization.from
    const invalidReason = yield* refusal(chain, settler, payment.value)
    return invalidReason === undefined ? { isValid: true, payer } : { isValid: false, invalidReason, payer }
  })

  const receiptOf = (hash: string): Effect.Effect<{ readonly status: string }, ChainError | Schema.SchemaError> =>
    Effect.flatMap(
      Effect.flatMap(chain.rpc("eth_getTransactionReceipt", [hash]), decodeReceipt),
      (receipt) =>
        receipt === null
          ? Effect.andThen(realSleep(pollingInterval), receiptOf(hash))
          : Effect.succeed(receipt)
    )

  const settle = Effect.fnUntraced(function*(underway: Underway, submission: Submission, network: string) {
    const unavailable = ({ message }: { readonly message: string }) =>
      new FacilitatorUnavailable({ operation: "settle", detail: message })
    const unknown = ({ message }: { readonly message: string }) => new SettlementUnknown({ detail: message })

    const payment = read(submission)
    const { invalidReason, isValid, payer } = yield* Effect.mapError(verify(submission), unavailable)
    const who = payer === undefined ? {} : { payer }
    if (!isValid || Option.isNone(payment)) {
      return { success: false, errorReason: invalidReason ?? "invalid_payload", ...who, transaction: "", network }
    }
    const { asset, payload } = payment.value
    const sent = chain.rpc("eth_sendTransaction", [{ from: settler, to: asset, data: callOf(payload) }])
    const transaction = yield* sending.withPermit(sent).pipe(Effect.flatMap(decodeHash), Effect.mapError(unknown))
    underway.transaction = transaction
    const { status } = yield* Effect.mapError(receiptOf(transaction), unknown)
    return BigInt(status) === 1n
      ? { success: true, ...who, transaction, network }
      : { success: false, errorReason: "invalid_exact_evm_transaction_failed", ...who, transaction, network }
  })

  /** Begins a settlement, or finds the one that an equal payment began. What failed may be tried again. */
  const begin = (submission: Submission, network: string) =>
    Effect.suspend(() => {
      const key = JSON.stringify([submission.paymentPayload["payload"], submission.paymentRequirements])
      const earlier = known.get(key)
      if (earlier !== undefined) return Effect.succeed(earlier)
      const underway: Underway = { transaction: "", outcome: Deferred.makeUnsafe() }
      known.set(key, underway)
      return Effect.interruptible(settle(underway, submission, network)).pipe(
        Effect.onExit((exit) =>
          Effect.sync(() => {
            if (exit._tag === "Failure" || !exit.value.success) known.delete(key)
          })
        ),
        Deferred.into(underway.outcome),
        Effect.forkIn(scope),
        Effect.as(underway)
      )
    })

  return Facilitator.of({
    verify: Effect.fn("LocalFacilitator.verify")((submission) =>
      Effect.mapError(
        verify(submission),
        ({ message }) => new FacilitatorUnavailable({ operation: "verify", detail: message })
      )
    ),
    settle: Effect.fn("LocalFacilitator.settle")(function*(submission) {
      const network = String(submission.paymentRequirements["network"])
      const underway = yield* Effect.uninterruptible(begin(submission, network))
      const pending = Effect.map(
        realSleep(confirmationTimeout),
        (): Settlement => ({
          success: false,
          errorReason: "settlement_pending",
          transaction: underway.transaction,
          network
        })
      )
      return yield* Effect.raceFirst(Deferred.await(underway.outcome), pending)
    }),
    supported: Effect.succeed({
      kinds: [
        { x402Version: 2, scheme: "exact", network: chain.network },
        ...Option.toArray(
          Option.map(Networks.toName(chain.network), (network) => ({ x402Version: 1, scheme: "exact", network }))
        )
      ],
      extensions: [],
      signers: { [chain.network]: [settler] }
    })
  })
})
