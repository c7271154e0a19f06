//! The message tables of Nasdaq TotalView-ITCH 5.0 (28 April 2023), sections 1.1 to 1.8, in their order and their words.

use zerocopy::byteorder::big_endian::{U16, U32, U64};

use crate::market::layout::{
    Alpha, BuySell, Code, ImbalanceSide, Message, Price4, Price8, SinceMidnight, Stock, layouts,
};

/// Every message, the most frequent ones first. Names are the titles of the sections, with a plain hyphen.
pub(crate) static MESSAGES: &[Message] = &[
    Message::of::<AddOrder>(b'A', "Add Order - No MPID Attribution"),
    Message::of::<OrderDelete>(b'D', "Order Delete Message"),
    Message::of::<OrderReplace>(b'U', "Order Replace Message"),
    Message::of::<OrderExecuted>(b'E', "Order Executed Message"),
    Message::of::<OrderCancel>(b'X', "Order Cancel Message"),
    Message::of::<Trade>(b'P', "Trade Message (Non-Cross)"),
    Message::of::<AddOrderMpid>(b'F', "Add Order with MPID Attribution"),
    Message::of::<OrderExecutedWithPrice>(b'C', "Order Executed With Price Message"),
    Message::of::<Imbalance>(b'I', "Net Order Imbalance Indicator (NOII) Message"),
    Message::of::<MarketParticipantPosition>(b'L', "Market Participant Position"),
    Message::of::<StockDirectory>(b'R', "Stock Directory"),
    Message::of::<StockTradingAction>(b'H', "Stock Trading Action"),
    Message::of::<RegShoRestriction>(b'Y', "Reg SHO Short Sale Price Test Restricted Indicator"),
    Message::of::<CrossTrade>(b'Q', "Cross Trade Message"),
    Message::of::<BrokenTrade>(b'B', "Broken Trade / Order Execution Message"),
    Message::of::<SystemEvent>(b'S', "System Event Message"),
    Message::of::<DeclineLevel>(b'V', "MWCB Decline Level Message"),
    Message::of::<BreakerStatus>(b'W', "MWCB Status Message"),
    Message::of::<QuotingPeriod>(b'K', "Quoting Period Update"),
    Message::of::<AuctionCollar>(b'J', "Limit Up - Limit Down (LULD) Auction Collar"),
    Message::of::<OperationalHalt>(b'h', "Operational Halt"),
    Message::of::<RetailInterest>(b'N', "Retail Price Improvement Indicator (RPII)"),
    Message::of::<DirectListing>(b'O', "Direct Listing with Capital Raise Price Discovery Message"),
];

layouts! {
    /// What every message begins with. (Section 1.2.3 calls the locate "Locate Code"; one name is kept here.)
    Head[11] {
        message_type: Code = "Message Type",
        stock_locate: U16 = "Stock Locate",
        tracking_number: U16 = "Tracking Number",
        timestamp: SinceMidnight = "Timestamp",
    }

    /// 1.1
    SystemEvent[12] {
        head: Head = "",
        event_code: Code = "Event Code",
    }

    /// 1.2.1
    StockDirectory[39] {
        head: Head = "",
        stock: Stock = "Stock",
        market_category: Code = "Market Category",
        financial_status_indicator: Code = "Financial Status Indicator",
        round_lot_size: U32 = "Round Lot Size",
        round_lots_only: Code = "Round Lots Only",
        issue_classification: Code = "Issue Classification",
        issue_sub_type: Alpha<2> = "Issue Sub-Type",
        authenticity: Code = "Authenticity",
        short_sale_threshold_indicator: Code = "Short Sale Threshold Indicator",
        ipo_flag: Code = "IPO Flag",
        luld_reference_price_tier: Code = "LULD Reference Price Tier",
        etp_flag: Code = "ETP Flag",
        etp_leverage_factor: U32 = "ETP Leverage Factor",
        inverse_indicator: Code = "Inverse Indicator",
    }

    /// 1.2.2
    StockTradingAction[25] {
        head: Head = "",
        stock: Stock = "Stock",
        trading_state: Code = "Trading State",
        reserved: Code = "Reserved",
        reason: Alpha<4> = "Reason",
    }

    /// 1.2.3
    RegShoRestriction[20] {
        head: Head = "",
        stock: Stock = "Stock",
        reg_sho_action: Code = "Reg SHO Action",
    }

    /// 1.2.4
    MarketParticipantPosition[26] {
        head: Head = "",
        mpid: Alpha<4> = "MPID",
        stock: Stock = "Stock",
        primary_market_maker: Code = "Primary Market Maker",
        market_maker_mode: Code = "Market Maker Mode",
        market_participant_state: Code = "Market Participant State",
    }

    /// 1.2.5.1
    DeclineLevel[35] {
        head: Head = "",
        level_1: Price8 = "Level 1",
        level_2: Price8 = "Level 2",
        level_3: Price8 = "Level 3",
    }

    /// 1.2.5.2
    BreakerStatus[12] {
        head: Head = "",
        breached_level: Code = "Breached Level",
    }

    /// 1.2.6: the one message whose locate is always 0 although it names a stock.
    QuotingPeriod[28] {
        head: Head = "",
        stock: Stock = "Stock",
        ipo_quotation_release_time: U32 = "IPO Quotation Release Time",
        ipo_quotation_release_qualifier: Code = "IPO Quotation Release Qualifier",
        ipo_price: Price4 = "IPO Price",
    }

    /// 1.2.7
    AuctionCollar[35] {
        head: Head = "",
        stock: Stock = "Stock",
        auction_collar_reference_price: Price4 = "Auction Collar Reference Price",
        upper_auction_collar_price: Price4 = "Upper Auction Collar Price",
        lower_auction_collar_price: Price4 = "Lower Auction Collar Price",
        auction_collar_extension: U32 = "Auction Collar Extension",
    }

    /// 1.2.8
    OperationalHalt[21] {
        head: Head = "",
        stock: Stock = "Stock",
        market_code: Code = "Market Code",
        operational_halt_action: Code = "Operational Halt Action",
    }

    /// 1.3.1
    AddOrder[36] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
        side: BuySell = "Buy/Sell Indicator",
        shares: U32 = "Shares",
        stock: Stock = "Stock",
        price: Price4 = "Price",
    }

    /// 1.3.2
    AddOrderMpid[40] {
        add: AddOrder = "",
        attribution: Alpha<4> = "Attribution",
    }

    /// 1.4.1
    OrderExecuted[31] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
        executed_shares: U32 = "Executed Shares",
        match_number: U64 = "Match Number",
    }

    /// 1.4.2
    OrderExecutedWithPrice[36] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
        executed_shares: U32 = "Executed Shares",
        match_number: U64 = "Match Number",
        printable: Code = "Printable",
        execution_price: Price4 = "Execution Price",
    }

    /// 1.4.3
    OrderCancel[23] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
        cancelled_shares: U32 = "Cancelled Shares",
    }

    /// 1.4.4
    OrderDelete[19] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
    }

    /// 1.4.5
    OrderReplace[35] {
        head: Head = "",
        original_order_reference_number: U64 = "Original Order Reference Number",
        new_order_reference_number: U64 = "New Order Reference Number",
        shares: U32 = "Shares",
        price: Price4 = "Price",
    }

    /// 1.5.1
    Trade[44] {
        head: Head = "",
        order_reference_number: U64 = "Order Reference Number",
        side: BuySell = "Buy/Sell Indicator",
        shares: U32 = "Shares",
        stock: Stock = "Stock",
        price: Price4 = "Price",
        match_number: U64 = "Match Number",
    }

    /// 1.5.2
    CrossTrade[40] {
        head: Head = "",
        shares: U64 = "Shares",
        stock: Stock = "Stock",
        cross_price: Price4 = "Cross Price",
        match_number: U64 = "Match Number",
        cross_type: Code = "Cross Type",
    }

    /// 1.5.3
    BrokenTrade[19] {
        head: Head = "",
        match_number: U64 = "Match Number",
    }

    /// 1.6
    Imbalance[50] {
        head: Head = "",
        paired_shares: U64 = "Paired Shares",
        imbalance_shares: U64 = "Imbalance Shares",
        imbalance_direction: ImbalanceSide = "Imbalance Direction",
        stock: Stock = "Stock",
        far_price: Price4 = "Far Price",
        near_price: Price4 = "Near Price",
        current_reference_price: Price4 = "Current Reference Price",
        cross_type: Code = "Cross Type",
        price_variation_indicator: Code = "Price Variation Indicator",
    }

    /// 1.7
    RetailInterest[20] {
        head: Head = "",
        stock: Stock = "Stock",
        interest_flag: Code = "Interest Flag",
    }

    /// 1.8
    DirectListing[48] {
        head: Head = "",
        stock: Stock = "Stock",
        open_eligibility_status: Code = "Open Eligibility Status",
        minimum_allowable_price: Price4 = "Minimum Allowable Price",
        maximum_allowable_price: Price4 = "Maximum Allowable Price",
        near_execution_price: Price4 = "Near Execution Price",
        near_execution_time: U64 = "Near Execution Time",
        lower_price_range_collar: Price4 = "Lower Price Range Collar",
        upper_price_range_collar: Price4 = "Upper Price Range Collar",
    }
}
