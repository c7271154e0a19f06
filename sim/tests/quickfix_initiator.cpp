// A real FIX engine as the client of the live mock exchange: the QuickFIX initiator of Debian's library (libquickfix-dev),
// for machines without the Python package; the steps are those of quickfix_initiator.py.
//
// Usage: quickfix_initiator VERSION HOST:PORT SYMBOL FOLDER [DICTIONARIES]
// Logs on, trades, is dropped by the exchange (which the test arranges), comes back, asks for what it missed, trades on,
// logs out. Prints `ready`, then one JSON object. Any session-level reject, in either direction, is an error, as is every message that
// QuickFIX itself does not like.

#include <quickfix/Application.h>
#include <quickfix/FileLog.h>
#include <quickfix/FileStore.h>
#include <quickfix/Message.h>
#include <quickfix/Session.h>
#include <quickfix/SessionSettings.h>
#include <quickfix/SocketInitiator.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>

using namespace FIX;

static std::string value(const FieldMap& message, int tag) {
    return message.isSetField(tag) ? message.getField(tag) : "";
}

struct Trader : Application {
    std::mutex lock;
    SessionID session;
    std::string begin_string, rejects;
    int logons = 0, logouts = 0, reports = 0, copies = 0, fills = 0, cancelled = 0, replaced = 0, resend_requests = 0;
    std::map<std::string, std::string> status;
    double price = 0;
    int next = 1;

    void onCreate(const SessionID& id) override { session = id; }
    void onLogon(const SessionID&) override { std::lock_guard<std::mutex> guard(lock); ++logons; }
    void onLogout(const SessionID&) override { std::lock_guard<std::mutex> guard(lock); ++logouts; }
    void toAdmin(Message& message, const SessionID&) override { admin(message); }
    void fromAdmin(const Message& message, const SessionID&) throw(FieldNotFound, IncorrectDataFormat, IncorrectTagValue,
                                                                    RejectLogon) override { admin(message); }
    void toApp(Message&, const SessionID&) throw(DoNotSend) override {}

    void admin(const Message& message) {
        std::lock_guard<std::mutex> guard(lock);
        const std::string kind = message.getHeader().getField(35);
        if (kind == "3") reject(message);
        if (kind == "2") ++resend_requests;
    }

    void reject(const Message& message) {
        std::string text = message.toString();
        for (char& letter : text) {
            if (letter == '\x01') letter = '|';
            if (letter == '"' || letter == '\\') letter = '\'';
        }
        rejects += (rejects.empty() ? "\"" : ", \"") + text + "\"";
    }

    void fromApp(const Message& message, const SessionID&) throw(FieldNotFound, IncorrectDataFormat, IncorrectTagValue,
                                                                  UnsupportedMessageType) override {
        std::lock_guard<std::mutex> guard(lock);
        const std::string kind = message.getHeader().getField(35);
        if (kind == "j") reject(message);
        if (kind != "8" && kind != "9") return;
        ++reports;
        copies += value(message.getHeader(), 43) == "Y";
        const std::string type = kind == "8" ? value(message, 150) : "cancel reject";
        fills += type == "F" || type == "1" || type == "2";
        cancelled += type == "4";
        replaced += type == "5";
        status[value(message, 11)] = type;
        if (!value(message, 31).empty()) price = std::atof(value(message, 31).c_str());
    }

    template <typename T> T locked(T Trader::*member) { std::lock_guard<std::mutex> guard(lock); return this->*member; }

    bool is(const std::string& name, const std::string& types) {
        std::lock_guard<std::mutex> guard(lock);
        const auto found = status.find(name);
        return found != status.end() && (types == found->second || (found->second.size() == 1 && types.size() > 1
            && types != "cancel reject" && types.find(found->second) != std::string::npos));
    }

    std::string send(const std::string& kind, const std::map<int, std::string>& fields) {
        char name[16];
        std::snprintf(name, sizeof name, "Q%05d", next++);
        Message message;
        message.getHeader().setField(BeginString(begin_string));
        message.getHeader().setField(MsgType(kind));
        message.setField(11, name);
        for (const auto& field : fields) message.setField(field.first, field.second);
        message.setField(TransactTime());
        Session::sendToTarget(message, session);
        return name;
    }

    static std::string text(double price) {
        char out[32];
        std::snprintf(out, sizeof out, "%.2f", price);
        return out;
    }

    std::string order(const std::string& symbol, int side, int quantity, double price = 0) {
        std::map<int, std::string> fields = {{21, "1"}, {55, symbol}, {54, std::to_string(side)},
            {38, std::to_string(quantity)}, {40, price > 0 ? "2" : "1"}, {59, "0"}};
        if (price > 0) fields[44] = text(price);
        return send("D", fields);
    }

    std::string change(const std::string& kind, const std::string& orig, const std::string& symbol, int quantity,
                       double price = 0) {
        std::map<int, std::string> fields = {{41, orig}, {55, symbol}, {54, "1"}, {38, std::to_string(quantity)}};
        if (kind == "G") { fields[21] = "1"; fields[40] = "2"; fields[44] = text(price); }
        return send(kind, fields);
    }
};

static void wait_for(const char* what, const std::function<bool()>& condition, int seconds = 15) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (std::chrono::steady_clock::now() < until) {
        if (condition()) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    std::cerr << "waited " << seconds << " s for: " << what << std::endl;
    std::exit(1);
}

int main(int count, char** arguments) {
    if (count < 5) return 2;
    const std::string version = arguments[1], address = arguments[2], symbol = arguments[3], folder = arguments[4];
    const std::string dictionaries = count > 5 ? arguments[5] : "";
    Trader client;
    client.begin_string = version == "5.0sp2" ? "FIXT.1.1" : "FIX." + version;
    const auto colon = address.rfind(':');
    std::stringstream text;
    text << "[DEFAULT]\nConnectionType=initiator\nReconnectInterval=1\nStartTime=00:00:00\nEndTime=00:00:00\n"
         << "FileStorePath=" << folder << "/store\nFileLogPath=" << folder << "/log\nHeartBtInt=2\n"
         << "UseDataDictionary=" << (dictionaries.empty() ? "N" : "Y") << "\n[SESSION]\nBeginString="
         << client.begin_string << "\nSenderCompID=QUICKFIX\nTargetCompID=EXCHANGE\nSocketConnectHost="
         << address.substr(0, colon) << "\nSocketConnectPort=" << address.substr(colon + 1) << "\n";
    if (version == "5.0sp2") {
        text << "DefaultApplVerID=FIX.5.0SP2\n";
        if (!dictionaries.empty()) text << "TransportDataDictionary=" << dictionaries << "/FIXT11.xml\nAppDataDictionary="
                                        << dictionaries << "/FIX50SP2.xml\n";
    } else if (!dictionaries.empty()) {
        text << "DataDictionary=" << dictionaries << (version == "4.2" ? "/FIX42.xml\n" : "/FIX44.xml\n");
    }
    SessionSettings settings(text);
    FileStoreFactory store(settings);
    FileLogFactory log(settings);
    SocketInitiator initiator(client, store, settings, log);
    std::cout << "ready" << std::endl;  // the market begins now: reading the dictionaries takes a while
    initiator.start();
    wait_for("the first logon", [&] { return client.locked(&Trader::logons) >= 1; });
    for (int turn = 0; turn < 5; ++turn) {
        const std::string name = client.order(symbol, 1, 100);
        wait_for("a market order's fill", [&] { return client.is(name, "F124"); });
    }
    double price = client.locked(&Trader::price);
    if (price <= 0) { std::cerr << "no market order was filled" << std::endl; return 1; }
    // The exchange cancels some orders by itself: then once more.
    std::string changed, gone;
    for (int turn = 0; turn < 10 && (gone.empty() || !client.is(gone, "4")); ++turn) {
        const std::string low = client.order(symbol, 1, 100, price - 3);
        wait_for("a resting order's acknowledgement", [&] { return client.is(low, "04"); });
        changed = client.change("G", low, symbol, 200, price - 4);
        wait_for("a replace", [&] { return client.is(changed, "54") || client.is(changed, "cancel reject"); });
        gone = client.change("F", changed, symbol, 200);
        wait_for("a cancel", [&] { return client.is(gone, "4") || client.is(gone, "cancel reject"); });
    }
    if (!client.is(gone, "4")) { std::cerr << "no cancel went through" << std::endl; return 1; }
    const std::string late = client.change("F", changed, symbol, 200);
    wait_for("a cancel that comes too late", [&] { return client.is(late, "cancel reject"); });
    // These rest where the crowd trades; some of their fills happen while the connection is down.
    while (client.locked(&Trader::logouts) == 0) {
        price = client.locked(&Trader::price);
        for (double step : {0.0, 0.01}) {
            client.order(symbol, 1, 300, price - step);
            client.order(symbol, 2, 300, price + step);
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    wait_for("the second logon", [&] { return client.locked(&Trader::logons) >= 2; });
    const std::string name = client.order(symbol, 1, 100);
    wait_for("a fill after the reconnection", [&] { return client.is(name, "F124"); }, 20);
    std::this_thread::sleep_for(std::chrono::seconds(3));  // longer than the heartbeat interval
    Session* session = Session::lookupSession(client.session);
    session->logout();
    wait_for("the logout", [&] { return !session->isLoggedOn(); });
    initiator.stop();
    std::cout << "{\"logons\": " << client.logons << ", \"logouts\": " << client.logouts << ", \"reports\": "
              << client.reports << ", \"copies\": " << client.copies << ", \"fills\": " << client.fills
              << ", \"cancelled\": " << client.cancelled << ", \"replaced\": " << client.replaced
              << ", \"resend_requests\": " << client.resend_requests << ", \"rejects\": [" << client.rejects << "]}"
              << std::endl;
    return 0;
}
