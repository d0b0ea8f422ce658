/**
 * The one Layer that a program provides: from then on its `HttpClient` pays.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as SecureRandom from "effect/crypto/SecureRandom"
import * as Effect from "effect/Effect"
import type * as HttpClient from "effect/http/HttpClient"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as Asset from "./Asset.ts"
import * as Budget from "./Budget.ts"
import * as Chain from "./Chain.ts"
import * as Foreign from "./Foreign.ts"
import * as Ledger from "./Ledger.ts"
import * as PayingClient from "./PayingClient.ts"
import * as Payment from "./Payment.ts"
import type { LedgerUnavailable } from "./PaymentError.ts"
import * as Policy from "./Policy.ts"
import * as Rails from "./Rails.ts"
import * as EvmCharge from "./rails/EvmCharge.ts"
import * as ExactEvm from "./rails/ExactEvm.ts"
import * as TempoCharge from "./rails/TempoCharge.ts"
import * as TokenSession from "./rails/TokenSession.ts"
import * as Reconciler from "./Reconciler.ts"
import * as Session from "./Session.ts"
import * as LedgerConfig from "./sql/LedgerConfig.ts"
import * as Transport from "./Transport.ts"
import * as Wallet from "./Wallet.ts"

/**
 * What an agent provides: the paying client under its own tag and under that of `HttpClient`, and the services behind it.
 *
 * @category models
 * @since 0.1.0
 */
export type Agent =
  | HttpClient.HttpClient
  | PayingClient.PayingClient
  | Payment.Payment
  | Session.Session
  | Budget.Budget
  | Foreign.Foreign
  | Ledger.Ledger
  | Policy.Policy
  | Rails.Rails
  | Reconciler.Reconciler
  | Transport.Transport

/**
 * What a rail's layer may ask an agent for; everything else (a wallet) the program provides to it.
 *
 * @category models
 * @since 0.1.0
 */
export type RailServices =
  | Rails.Rails
  | Transport.Transport
  | Chain.Chain
  | SecureRandom.SecureRandom

/**
 * What an agent is made of.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options<E = never, R = never, LE = never, LR = never> {
  /** How much may be spent. Default: `Budget.research`, $1.00 in any hour. */
  readonly budget?: Budget.Plan
  /** The ways to pay. Several are merged with `Layer.mergeAll`. */
  readonly rails: Layer.Layer<never, E, R>
  /** Where it is written down. Default: memory, which forgets in a crash, with one warning. */
  readonly ledger?: Layer.Layer<Ledger.Ledger, LE, LR>
  readonly policy?: Policy.Options
  /** Further assets that may be paid with. */
  readonly assets?: ReadonlyArray<Asset.Asset>
  /** RPC URLs per network (CAIP-2): what reconciliation asks. Two URLs: a release needs both. */
  readonly rpc?: { readonly [network: string]: string | ReadonlyArray<string> }
  /** How the agent names itself, and the name of its budget window. Default: `default`. */
  readonly agentId?: string
  /**
   * Prefixes of paths below which every route has the same tariff (`/v1/data/`): a live session's token goes out with the
   * first request to each of them.
   */
  readonly attach?: ReadonlyArray<string>
  /** Hooks that must sit below payment: retries of single sends, proxies, time-outs. */
  readonly transformClient?: (client: HttpClient.HttpClient) => HttpClient.HttpClient
  /** Members of `RequestInit` for a client that is made of `fetch`. */
  readonly requestInit?: globalThis.RequestInit
  /** Whether every request says by `Accept-Payment` which methods the agent can pay by. Default: false. */
  readonly acceptPayment?: boolean
  /** Whether open payments are reconciled in the background. Default: true. */
  readonly sweep?: boolean
}

/** From the basics up. Every arrow of the design's picture is one `provideMerge` here. */
const assemble = <E, R, LE, LR, BE>(parts: {
  readonly basics: Layer.Layer<
    Transport.Transport | Chain.Chain | SecureRandom.SecureRandom | Budget.Budget | Policy.Policy,
    BE,
    HttpClient.HttpClient
  >
  readonly rails: Layer.Layer<never, E, R>
  readonly ledger: Layer.Layer<Ledger.Ledger, LE, LR>
  readonly agentId: string
  readonly attach: ReadonlyArray<string> | undefined
  readonly acceptPayment: boolean | undefined
  readonly sweep: boolean
}) => {
  const payments = Payment.layer({ agent: parts.agentId }).pipe(
    Layer.provideMerge(Foreign.layer({ agent: parts.agentId })),
    Layer.provideMerge(Session.layer({ attach: parts.attach })),
    Layer.provideMerge(parts.rails),
    Layer.provideMerge(Rails.Rails.layer),
    Layer.provideMerge(parts.ledger)
  )
  const clients = PayingClient.layerHttpClient.pipe(
    Layer.provideMerge(PayingClient.layer({ acceptPayment: parts.acceptPayment }))
  )
  const reconciler = parts.sweep
    ? Layer.provideMerge(Reconciler.layerSweeping(), Reconciler.layer)
    : Reconciler.layer
  return Layer.mergeAll(clients, reconciler).pipe(
    Layer.provideMerge(payments),
    Layer.provideMerge(parts.basics),
    // Two agents of one program share nothing but what the program gives to both.
    Layer.fresh
  )
}

/**
 * An agent made of options.
 *
 * **Example** (An agent that pays over x402 on a local chain)
 *
 * ```ts no-run
 * import * as Agent from "effect-mpp/Agent"
 * import * as Budget from "effect-mpp/Budget"
 * import * as ExactEvm from "effect-mpp/rails/ExactEvm"
 * import * as Wallet from "effect-mpp/Wallet"
 * import * as Config from "effect/Config"
 * import * as FetchHttpClient from "effect/http/FetchHttpClient"
 * import * as Layer from "effect/Layer"
 *
 * export const AgentLive = Agent.layer({
 *   budget: Budget.longRunning,
 *   rails: ExactEvm.layer({ networks: ["eip155:8453"] }).pipe(
 *     Layer.provide(Wallet.layerConfig({ privateKey: Config.Redacted("BASE_KEY") }))
 *   )
 * }).pipe(Layer.provide(FetchHttpClient.layer))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E = never, R = never, LE = never, LR = never>(options: Options<E, R, LE, LR>): Layer.Layer<
  Agent,
  E | LE,
  HttpClient.HttpClient | Exclude<R, RailServices> | LR
> => {
  const basics = Layer.mergeAll(
    Budget.layer(options.budget ?? Budget.research),
    Policy.layer(options.policy ?? {}),
    SecureRandom.layerWebCrypto
  ).pipe(
    Layer.provideMerge(Chain.layer({ rpc: options.rpc ?? {} })),
    Layer.provideMerge(Transport.layerWith({
      requestInit: options.requestInit,
      transformClient: options.transformClient
    })),
    Layer.provideMerge(Asset.layer(options.assets ?? []))
  )
  return assemble({
    basics,
    rails: options.rails,
    ledger: options.ledger ?? Ledger.layerMemory(),
    agentId: options.agentId ?? "default",
    attach: options.attach,
    acceptPayment: options.acceptPayment,
    sweep: options.sweep ?? true
  }) as never
}

/** Charges over MPP and x402 need a key; token sessions need a credential. What is not configured is no way to pay. */
const railsConfig = Layer.unwrap(
  Effect.map(Config.option(Wallet.privateKey("MPP_PRIVATE_KEY")), (key) =>
    Layer.merge(
      TokenSession.layerConfig(),
      Option.match(key, {
        onNone: () => Layer.empty,
        onSome: (privateKey) =>
          Layer.mergeAll(TempoCharge.layer(), EvmCharge.layer(), ExactEvm.layer()).pipe(
            Layer.provide(Wallet.layerPrivateKey(privateKey))
          )
      })
    ))
)

/**
 * An agent made of configuration: `MPP_PRIVATE_KEY`, `MPP_BUDGET`, `MPP_MAX_PRICE`, `MPP_RPC_<chainId>`, `MPP_NETWORKS`,
 * `MPP_LEDGER`, `MPP_ASSETS`, `MPP_ALLOW_ORIGINS`, `MPP_DENY_ORIGINS`, `MPP_ALLOW_PAYEES`, `MPP_ALLOW_HTTP`, `TEMPO_CREDENTIAL`,
 * `MPP_SESSION_ENDPOINT`, `MPP_SESSION_ORIGINS` and `MPP_AGENT_ID`.
 *
 * **Details**
 *
 * Options win over the configuration. Without a key and without a session credential the agent can pay nothing, and says
 * so when it is asked to.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfigWith = <LE = never, LR = never>(
  options: Partial<Omit<Options<never, never, LE, LR>, "rails">> = {}
) =>
  Layer.unwrap(
    Effect.map(Config.String("MPP_AGENT_ID").pipe(Config.withDefault("default")), (agentId) => {
      const basics = Layer.mergeAll(
        options.budget === undefined ? Budget.layerConfig : Budget.layer(options.budget),
        Policy.layerConfigWith(options.policy ?? {}),
        SecureRandom.layerWebCrypto
      ).pipe(
        Layer.provideMerge(options.rpc === undefined ? Chain.layerConfig : Chain.layer({ rpc: options.rpc })),
        Layer.provideMerge(Transport.layerWith({
          requestInit: options.requestInit,
          transformClient: options.transformClient
        })),
        Layer.provideMerge(options.assets === undefined ? Asset.layerConfig : Asset.layer(options.assets))
      )
      const ledger: Layer.Layer<Ledger.Ledger, LE | Config.ConfigError | LedgerUnavailable, LR> = options.ledger ??
        LedgerConfig.layerConfig
      return assemble({
        basics,
        rails: railsConfig,
        ledger,
        agentId: options.agentId ?? agentId,
        attach: options.attach,
        acceptPayment: options.acceptPayment,
        sweep: options.sweep ?? true
      })
    })
  )

/**
 * An agent made of configuration alone: see {@link layerConfigWith}.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = layerConfigWith()
